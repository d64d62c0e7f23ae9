"""Claim: on noise the shipped estimator reads 0.50 +- 0.02 on average, at 20 to 100 patients.

Cohorts without any signal, 40 % positive, five folds, through the head (`cached_cohorts.py`). Also
how often the interval of such a cohort excludes 0.5, nominally in 5 %.

    python benchmarks/null_estimator.py --cohorts 200 --repeats 2
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch
from cached_cohorts import Pool, auroc, cohorts

from recart.evaluation.intervals import auroc_interval


def main() -> None:
    """Print a line for each number of patients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--patients", type=int, nargs="+", default=[20, 30, 40, 100])
    given = parser.parse_args()
    torch.set_num_threads(1)
    pool = Pool.simulate(3000, effect=0.0, seed=2)
    say = sys.stdout.write
    say(f"{'n':>5} {'mean AUROC':>11} {'its SE':>7} {'SD':>6} {'excludes 0.5':>13}\n")
    for n in given.patients:
        scores = [own.scores for own in cohorts(pool, n, given.cohorts, given.repeats)]
        found = np.array([auroc(own.y, own.score) for own in scores])
        outside = np.mean([auroc_interval(own).excludes(0.5) for own in scores])
        error = found.std(ddof=1) / np.sqrt(len(found))
        spread = found.std(ddof=1)
        say(f"{n:>5} {found.mean():>11.3f} {error:>7.3f} {spread:>6.3f} {outside:>13.1%}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
