"""Claim: eight gross shifts are told from honest patients (AUROC .95), of whom 5 % are refused.

A simulated cohort; members of five folds are trained on `--patients` of its patients, and as many
again are seen by none. These are the honest ones, as they are and shifted. Beside them: patients of
another simulated cohort, whose libraries no member knows, as they are and shifted. The score of a
patient is the largest of its facts over their thresholds, rules on the model itself left out.

    python benchmarks/shifts.py --patients 40 --epochs 8 --seeds 21 22 23
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from cached_cohorts import auroc
from shift_members import Settings, asked, bags_of, fitted_trust, prepared, trained
from shifted_stores import AS_IT_IS, HONEST, SHIFTS, Shift

from recart.data.bags import Admission, Bags
from recart.data.part_of_store import without_patients
from recart.data.store import CohortStore
from recart.inference.trust.trust import Trust
from recart.training.member_file import LoadedMember

Array = np.ndarray[Any, np.dtype[Any]]

_OF_THE_MODEL = ("claim_level", "training_patients", "in_training")
HERE, ELSEWHERE = "libraries of training", "libraries that no member knows"
_LIBRARIES_ELSEWHERE = 10  # so that not two or three of them decide how many are refused


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


def measure(
    given: Settings,
    folder: Path,
    elsewhere: bool = True,
    done: Mapping[str, tuple[Shift, Admission]] = MappingProxyType(HONEST | SHIFTS),
) -> Iterator[tuple[str, str, Scored]]:
    """Whose libraries, what was `done`, and the patients: as they are first, then each shift.

    The patients of `elsewhere` are those of another cohort.
    """
    store = prepared(given, 2 * given.patients, given.seed, folder)
    members = trained(given, store, folder)
    trust = fitted_trust(given, members, store)
    places = {HERE: without_patients(store, range(given.patients))}
    if elsewhere:
        places[ELSEWHERE] = prepared(
            given, given.patients, given.seed + 1000, folder, _LIBRARIES_ELSEWHERE
        )
    rng = np.random.default_rng(given.seed)
    for place, own in places.items():
        for name, (shift, admission) in done.items():
            yield (
                place,
                name,
                scored(trust, members, shift(own, rng), bags_of(own, admission)),
            )


def main() -> None:
    """Print a line for each shift, over all seeds together."""
    found: dict[tuple[str, str], list[tuple[Scored, float]]] = {}
    for settings in asked(__doc__):
        honest = np.zeros(0)
        with tempfile.TemporaryDirectory() as folder:
            for place, name, own in measure(settings, Path(folder)):
                honest = own.score if name == AS_IT_IS else honest
                area = told_apart(honest, own.score)
                found.setdefault((place, name), []).append((own, area))
                progress = f"seed {settings.seed}, {place}, {name}: {area:.3f}"
                sys.stderr.write(f"{progress}, refused {np.mean(own.refused):.3f}\n")
    for line in table(found):
        sys.stdout.write(line + "\n")


def told_apart(honest: Array, shifted: Array) -> float:
    """AUROC of the scores."""
    labels = np.repeat([0.0, 1.0], [len(honest), len(shifted)])
    return float(auroc(labels, np.concatenate([honest, shifted])))


def table(found: Mapping[tuple[str, str], Sequence[tuple[Scored, float]]]) -> Iterator[str]:
    """Lines of a table: mean and least AUROC over seeds, how many are refused, and for what."""
    yield f"{'':<28} {'n':>4} {'AUROC':>6} {'least':>6} {'refused':>8}  by seed, and reasons"
    before = ""
    for (place, name), of_seeds in found.items():
        if place != before:
            yield place
            before = place
        by_seed = [float(np.mean(own.refused)) for own, _ in of_seeds]
        refused = np.concatenate([own.refused for own, _ in of_seeds])
        reasons = pd.concat([own.reasons for own, _ in of_seeds]).groupby(level=0).sum()
        words = ", ".join(f"{code} {n}" for code, n in reasons.nlargest(3).items())
        areas = [area for _, area in of_seeds]
        shown = f"{np.mean(areas):>6.3f} {min(areas):>6.3f}" if name in SHIFTS else " " * 13
        seeds = " ".join(f"{100 * share:.1f}" for share in by_seed)
        yield (
            f"  {name:<26} {len(refused):>4} {shown} {np.mean(refused):>8.1%}  ({seeds})  {words}"
        )


if __name__ == "__main__":
    main()
