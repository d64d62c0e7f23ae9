"""Claim: on noise the shipped estimator reads 0.50 +- 0.02 on average, at 20 to 100 patients.

Cohorts without any signal, 40 % positive, five folds, through the head (`cached_cohorts.py`). Also
how often the interval of such a cohort excludes 0.5, nominally in 5 %.

    python benchmarks/null_estimator.py --cohorts 200 --repeats 2
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np
import torch
from cached_cohorts import Evaluated, Pool, auroc, cohorts

from recart.evaluation.intervals import auroc_interval


@dataclass(frozen=True)
class Null:
    """AUROC of cohorts without signal: mean, its standard error, spread, and false positives."""

    mean: float
    error: float
    spread: float
    outside: float


def measure(drawn: list[Evaluated]) -> Null:
    """What the estimator reads in these cohorts."""
    found = np.array([auroc(own.scores.y, own.scores.score) for own in drawn])
    spread = float(found.std(ddof=1))
    return Null(
        mean=float(found.mean()),
        error=spread / len(found) ** 0.5,
        spread=spread,
        outside=float(np.mean([auroc_interval(own.scores).excludes(0.5) for own in drawn])),
    )


def main() -> None:
    """Print a line for each number of patients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patients", type=int, nargs="+", default=[20, 30, 40, 100])
    given = parser.parse_args()
    torch.set_num_threads(1)
    pool = Pool.simulate(given.pool, 0.0, given.seed, given.markers)
    say = sys.stdout.write
    say(f"{'n':>5} {'mean AUROC':>11} {'its SE':>7} {'SD':>6} {'excludes 0.5':>13}\n")
    for n in given.patients:
        found = measure(list(cohorts(pool, n, given.cohorts, given.repeats, given.seed)))
        say(
            f"{n:>5} {found.mean:>11.3f} {found.error:>7.3f} {found.spread:>6.3f} "
            f"{found.outside:>13.1%}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
