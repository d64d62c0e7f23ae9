"""Claim: prediction sets hold the truth in at least 77 % and 87 % of new patients of either class.

Nominal are 80 % and 90 %. Simulated cohorts, 40 % positive, five folds, through the head
(`cached_cohorts.py`); the new patients of a cohort are others of its pool. Printed besides: how
often a set names one class alone, and how often that one is right.

    python benchmarks/conformal_coverage.py --cohorts 500 --patients 20 40 80
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from cached_cohorts import FOLDS, Evaluated, Pool, cohorts, options

from recart.inference.trust.conformal import LEVELS, ConformalSets

NEWCOMERS = 50  # of each class and cohort


@dataclass(frozen=True)
class SetsFound:
    """Over all new patients: shares by class (NR, R), and of sets of one class."""

    covered: tuple[float, float]
    single: float
    right: float
    empty: float


def measure(y: np.ndarray, drawn: list[Evaluated], level: float) -> SetsFound:
    """Sets of the new patients of these cohorts, whose labels are `y` at their rows."""
    holds, sizes, labels = [], [], []
    for own in drawn:
        predictions = pd.concat(
            pd.DataFrame(
                {
                    "bag": own.rows,
                    "patient": own.rows,
                    "member": [f"r{repeat}f{k}" for k in fold],
                    "y": y[own.rows],
                    "logit": own.held_out[repeat],
                }
            )
            for repeat, fold in enumerate(own.folds)
        )
        sets = ConformalSets.fit(predictions)
        names = [f"r{repeat}f{k}" for repeat in range(len(own.folds)) for k in range(FOLDS)]
        logits = own.newcomer_logits.reshape(len(names), -1)
        told = sets.holds([logits[names.index(name)] for name in sets.members], level)
        label = y[own.newcomers].astype(int)
        holds.append(told[label, np.arange(len(label))])
        sizes.append(told.sum(axis=0))
        labels.append(label)
    covered, size, label = (np.concatenate(part) for part in (holds, sizes, labels))
    single = size == 1
    return SetsFound(
        covered=(float(covered[label == 0].mean()), float(covered[label == 1].mean())),
        single=float(single.mean()),
        right=float(covered[single].mean()) if single.any() else float("nan"),
        empty=float((size == 0).mean()),
    )


def main() -> None:
    """Print a line for each number of patients and level."""
    given = options(__doc__)
    torch.set_num_threads(1)
    pool = Pool.simulate(given.pool, given.effect, given.seed, given.markers)
    say = sys.stdout.write
    say(
        f"{'n':>5} {'truth':>6} {'level':>6} {'NR':>7} {'R':>7} {'one class':>10} {'right':>7} "
        f"{'none':>6}\n"
    )
    for n in given.patients:
        drawn = list(
            cohorts(pool, n, given.cohorts, given.repeats, given.seed, newcomers=NEWCOMERS)
        )
        truth = np.mean([own.truth for own in drawn])
        for level in LEVELS:
            found = measure(pool.y, drawn, level)
            nr, r = found.covered
            say(
                f"{n:>5} {truth:>6.3f} {level:>6.0%} {nr:>7.1%} {r:>7.1%} {found.single:>10.1%} "
                f"{found.right:>7.1%} {found.empty:>6.1%}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
