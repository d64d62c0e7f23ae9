"""Claim: what a bundle says of a patient tells little of whether the patient was in training.

The members of the benchmark of shifts with heads. Somebody has all counts of a patient, perhaps the
response too, and what the bundle says: is it of one of the patients that it was trained on, or of
the same number of others of the same libraries? Fingerprints, which are there to tell, are left
out, and so are names of libraries, which a bundle does not hold. Printed: AUROC of each thing that
is said, the more like training the higher; with a 95 % interval over patients.

    python benchmarks/membership.py --patients 40 --seeds 1 2 3
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from cached_cohorts import auroc
from shift_heads import labelled, log_odds, nameless, with_heads
from shift_members import Settings, asked, fitted_trust, prepared, trained

Array = np.ndarray[Any, np.dtype[Any]]

_DRAWS = 1000
_OF_THE_MODEL = ("claim_level", "training_patients", "in_training")


def said(given: Settings, folder: Path) -> tuple[Array, dict[str, Array]]:
    """(n) whether each patient was in training, and (n) what speaks for it, by name."""
    store = prepared(given, 2 * given.patients, given.seed, folder)
    members = trained(given, store, folder)
    trust = fitted_trust(given, members, store)
    members = with_heads(given, members, store)
    met = nameless(store)
    cohort = labelled(met)
    of_member = log_odds(members, met)
    mean = of_member.mean(axis=0)
    label = cohort.bags.table["label"].to_numpy()
    told = trust.of(members, met, cohort.bags, {})
    rules = [own for own in trust.policy.in_force if own.fact not in _OF_THE_MODEL]
    facts = {own.fact: told.facts[own.fact].to_numpy() / own.above for own in rules if own.above}
    unlike = {name: own for name, own in facts.items() if name.startswith("unlike_")}
    scores = {
        "response known: log-likelihood": -np.logaddexp(0, np.where(label == 1, -mean, mean)),
        "confidence": np.abs(mean),
        "members agree": -of_member.std(axis=0),
        "the largest fact of refusal": -np.max(list(unlike.values()), axis=0),
        "cells out of distribution": -told.table["ood_cells"].to_numpy(),
        **{name: -own for name, own in unlike.items()},
    }
    scores["confidence, agreement and facts"] = np.mean(
        [_ranks(own) for name, own in scores.items() if not name.startswith("response")], axis=0
    )
    trained_on = cohort.bags.table["patient"].to_numpy() < given.patients
    return trained_on, scores


def _ranks(values: Array) -> Array:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable") / len(values)


def interval(cohorts: list[tuple[Array, Array]], seed: int = 0) -> tuple[float, float]:
    """95 % of the mean AUROC over cohorts, patients of each drawn anew."""
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(_DRAWS):
        areas = []
        for trained_on, score in cohorts:
            rows = np.concatenate(
                [
                    rng.choice(np.flatnonzero(trained_on == own), (trained_on == own).sum())
                    for own in (True, False)
                ]
            )
            areas.append(auroc(trained_on[rows].astype(float), score[rows]))
        means.append(np.mean(areas))
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    """Print a line for each thing that is said."""
    cohorts = []
    for settings in asked(__doc__):
        with tempfile.TemporaryDirectory() as folder:
            cohorts.append(said(settings, Path(folder)))
    for name in cohorts[0][1]:
        of_cohorts = [(trained_on, scores[name]) for trained_on, scores in cohorts]
        areas = [float(auroc(own.astype(float), score)) for own, score in of_cohorts]
        low, high = interval(of_cohorts)
        by_seed = " ".join(f"{area:.3f}" for area in areas)
        sys.stdout.write(
            f"{name:<34} {np.mean(areas):.3f} [{low:.3f}, {high:.3f}]  by seed {by_seed}\n"
        )


if __name__ == "__main__":
    main()
