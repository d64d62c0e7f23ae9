"""Claim: a head and a baseline that are equally good differ, at a nominal 5 %, in at most 7 %.

Simulated cohorts, 40 % positive, five folds, through the head (`cached_cohorts.py`). The baseline
(`cached_baseline.py`) is the ridge on cell composition in a second compartment of the same
patients. Its signal is set so that both are on average equally good on the pool's other patients
when fitted to all patients of a cohort. Beside the shipped comparison: the plain patient bootstrap.

    python benchmarks/type_one.py --cohorts 500 --repeats 2
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import torch
from cached_baseline import baseline_scores, composition, equal_effect
from cached_cohorts import Evaluated, Pool, cohorts, options

from recart.evaluation.bootstrap import PatientBootstrap
from recart.evaluation.comparison import RESAMPLED_FACTOR, compare


@dataclass(frozen=True)
class ErrorRate:
    """How often head and baseline are found to differ, and how good they are on average.

    `head` and `baseline` are AUROCs on the other patients of the pool, `difference` is held out.
    """

    shipped: float
    better: float
    bootstrap: float
    difference: float
    head: float
    baseline: float


def measure(
    pool: Pool, drawn: list[Evaluated], seed: int, factor: float = RESAMPLED_FACTOR
) -> ErrorRate:
    """Compare the head with an equally good baseline in each of these cohorts."""
    effect, as_good = equal_effect(pool, drawn, seed)
    scored = baseline_scores(composition(pool.y, effect, seed), pool.y, drawn)
    found = [
        compare(
            own.scores, other, PatientBootstrap.draw(own.scores, own.number, 300), factor=factor
        )
        for own, other in zip(drawn, scored, strict=True)
    ]
    return ErrorRate(
        shipped=float(np.mean([one.interval.excludes(0) for one in found])),
        better=float(np.mean([one.interval.low > 0 for one in found])),
        bootstrap=float(np.mean([one.bootstrap.excludes(0) for one in found])),
        difference=float(np.mean([one.auroc for one in found])),
        head=float(np.mean([own.truth for own in drawn])),
        baseline=as_good,
    )


def main() -> None:
    """Print a line for each number of patients."""
    given = options(__doc__)
    torch.set_num_threads(1)
    pool = Pool.simulate(given.pool, given.effect, given.seed, given.markers)
    say = sys.stdout.write
    say(
        f"{'n':>5} {'head':>6} {'baseline':>9} {'difference':>11} {'shipped':>8} {'better':>7} "
        f"{'bootstrap':>10}\n"
    )
    for n in given.patients:
        drawn = list(cohorts(pool, n, given.cohorts, given.repeats, given.seed))
        found = measure(pool, drawn, given.seed)
        say(
            f"{n:>5} {found.head:>6.3f} {found.baseline:>9.3f} {found.difference:>+11.3f} "
            f"{found.shipped:>8.1%} {found.better:>7.1%} {found.bootstrap:>10.1%}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
