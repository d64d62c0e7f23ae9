"""Claim: the shipped 95 % interval covers the truth in 93 to 99 % of cohorts of 20 to 150.

Simulated cohorts, 40 % positive, five folds, through the head (`cached_cohorts.py`). The truth of
a cohort is the AUROC, on all other patients of the pool, of the head fitted to its patients. Beside
it: the same interval without its widening, and the patient bootstrap.

    python benchmarks/interval_coverage.py --cohorts 500 --repeats 2
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import torch
from cached_cohorts import Evaluated, Pool, auroc, cohorts, options

from recart.evaluation.bootstrap import PatientBootstrap
from recart.evaluation.intervals import Interval, auroc_interval


@dataclass(frozen=True)
class Coverage:
    """Share of cohorts whose intervals hold their truth, and means over cohorts."""

    shipped: float
    plain: float
    bootstrap: float
    width: float
    truth: float
    estimate: float


def measure(drawn: list[Evaluated]) -> Coverage:
    """Intervals of these cohorts against their truths."""
    shipped = [auroc_interval(own.scores) for own in drawn]
    bootstraps = [PatientBootstrap.draw(own.scores, own.number, 400) for own in drawn]
    return Coverage(
        shipped=_covered(shipped, drawn),
        plain=_covered([auroc_interval(own.scores, inflation=1.0) for own in drawn], drawn),
        bootstrap=_covered(
            [b.interval("auroc", own.scores) for b, own in zip(bootstraps, drawn, strict=True)],
            drawn,
        ),
        width=float(np.mean([interval.width for interval in shipped])),
        truth=float(np.mean([own.truth for own in drawn])),
        estimate=float(np.mean([auroc(own.scores.y, own.scores.score) for own in drawn])),
    )


def _covered(intervals: list[Interval], drawn: list[Evaluated]) -> float:
    return float(
        np.mean([not i.excludes(own.truth) for i, own in zip(intervals, drawn, strict=True)])
    )


def main() -> None:
    """Print a line for each number of patients."""
    given = options(__doc__)
    torch.set_num_threads(1)
    pool = Pool.simulate(given.pool, given.effect, given.seed, given.markers)
    say = sys.stdout.write
    say(
        f"{'n':>5} {'truth':>6} {'estimate':>9} {'shipped':>8} {'width':>6} {'SE x 1':>7} "
        f"{'bootstrap':>10}\n"
    )
    for n in given.patients:
        drawn = list(cohorts(pool, n, given.cohorts, given.repeats, given.seed))
        found = measure(drawn)
        say(
            f"{n:>5} {found.truth:>6.3f} {found.estimate:>9.3f} {found.shipped:>8.1%} "
            f"{found.width:>6.2f} {found.plain:>7.1%} {found.bootstrap:>10.1%}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
