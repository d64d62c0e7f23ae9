"""Claim: eight gross shifts are told from honest patients (AUROC .95), of whom 5 % are refused.

A simulated cohort; members of five folds are trained on `--patients` of its patients, and as many
again are seen by none. These are the honest ones, as they are and shifted. Beside them: honest
patients of another simulated cohort, whose libraries no member knows. The score of a patient is the
largest of its facts over their thresholds, rules on the model itself left out.

    python benchmarks/shifts.py --patients 40 --seeds 1 2 3
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cached_cohorts import auroc
from shift_members import BEFORE, Settings, bags_of, fitted_trust, prepared, trained
from shifted_stores import LACKING, SHIFTS

from recart.data.bags import Admission, Bags
from recart.data.store import CohortStore
from recart.inference.trust.trust import Trust
from recart.training.member_file import LoadedMember

Array = np.ndarray[Any, np.dtype[Any]]

_OF_THE_MODEL = ("claim_level", "training_patients", "in_training")
HONEST, ELSEWHERE = "honest, known libraries", "honest, other libraries"


@dataclass(frozen=True)
class Scored:
    """Patients of one kind: (n) score, whether refused, and how often for what."""

    score: Array
    refused: Array
    reasons: pd.Series[int]


def scored(trust: Trust, members: list[LoadedMember], store: CohortStore, bags: Bags) -> Scored:
    """How far beyond what is allowed each patient is, and whether one rule refuses it."""
    said = trust.of(members, store, bags, {})
    rules = [own for own in trust.policy.in_force if own.fact not in _OF_THE_MODEL]
    codes = {own.code for own in rules}
    over = np.stack(
        [said.facts[own.fact] / max(own.above, 1e-9) for own in rules if own.above is not None]
    )
    kept = [[code for code in own.split(";") if code in codes] for own in said.table["reasons"]]
    return Scored(
        score=over.max(axis=0),
        refused=np.array([len(own) > 0 for own in kept]),
        reasons=pd.Series([code for own in kept for code in own], dtype=object).value_counts(),
    )


def measure(given: Settings, folder: Path) -> Iterator[tuple[str, Scored]]:
    """Honest patients first, then each shift of them."""
    store = prepared(given, 2 * given.patients, given.seed, folder)
    members = trained(given, store, folder)
    trust = fitted_trust(given, members, store)
    rng = np.random.default_rng(given.seed)

    def fresh(store: CohortStore, admission: Admission) -> Bags:
        every = bags_of(store, admission)
        rows = np.flatnonzero(every.table["patient"].to_numpy() >= given.patients)
        return replace(
            every, table=every.table.iloc[rows], slices=tuple(every.slices[n] for n in rows)
        )

    yield HONEST, scored(trust, members, store, fresh(store, BEFORE))
    other = prepared(given, given.patients, given.seed + 1000, folder)
    yield ELSEWHERE, scored(trust, members, other, bags_of(other, BEFORE))
    for name, lack in LACKING.items():
        yield name, scored(trust, members, lack(store, rng), fresh(store, BEFORE))
    for name, (shift, admission) in SHIFTS.items():
        bags = fresh(store, admission)
        yield name, scored(trust, members, shift(store, rng), bags)


def main() -> None:
    """Print a line for each shift, over all seeds together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    given = parser.parse_args()
    found: dict[str, list[tuple[Scored, float]]] = {}
    for seed in given.seeds:
        settings = Settings(given.patients, given.cells, given.epochs, seed)
        honest = np.zeros(0)
        with tempfile.TemporaryDirectory() as folder:
            for name, own in measure(settings, Path(folder)):
                honest = own.score if name == HONEST else honest
                labels = np.repeat([0.0, 1.0], [len(honest), len(own.score)])
                area = auroc(labels, np.concatenate([honest, own.score]))
                found.setdefault(name, []).append((own, area))
    say = sys.stdout.write
    say(f"{'':<29} {'AUROC':>6} {'least':>6} {'refused':>8}  reasons\n")
    for name, of_seeds in found.items():
        refused = np.concatenate([own.refused for own, _ in of_seeds])
        reasons = pd.concat([own.reasons for own, _ in of_seeds]).groupby(level=0).sum()
        words = ", ".join(f"{code} {n}" for code, n in reasons.nlargest(3).items())
        areas = [area for _, area in of_seeds]
        shown = f"{np.mean(areas):>6.3f} {min(areas):>6.3f}" if name != HONEST else " " * 13
        say(f"{name:<29} {shown} {np.mean(refused):>8.1%}  {words}\n")


if __name__ == "__main__":
    main()
