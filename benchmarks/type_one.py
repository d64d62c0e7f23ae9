"""Claim: a head and a baseline that are equally good differ, at a nominal 5 %, in at most 7 %.

Simulated cohorts, 40 % positive, five folds, through the head (`cached_cohorts.py`). The baseline
is the ridge on cell composition in a second compartment of the same patients. Its signal is set so
that both are on average equally good on fresh patients when fitted to all patients of a cohort.
Beside the shipped comparison: the plain patient bootstrap.

    python benchmarks/type_one.py --cohorts 500 --repeats 2
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch
from cached_cohorts import Pool, baseline_scores, cohorts, composition, equal_effect

from recart.evaluation.bootstrap import PatientBootstrap
from recart.evaluation.comparison import compare


def main() -> None:
    """Print a line for each number of patients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--effect", type=float, default=0.6)
    parser.add_argument("--patients", type=int, nargs="+", default=[20, 40, 80, 150])
    given = parser.parse_args()
    torch.set_num_threads(1)
    pool = Pool.simulate(3000, given.effect, seed=1)
    say = sys.stdout.write
    say(
        f"{'n':>5} {'head':>6} {'baseline':>9} {'difference':>11} {'shipped':>8} {'better':>7} "
        f"{'bootstrap':>10}\n"
    )
    for n in given.patients:
        drawn = list(cohorts(pool, n, given.cohorts, given.repeats))
        effect, as_good = equal_effect(pool, drawn, seed=7)
        x = composition(pool.y, effect, seed=7)
        found = [
            compare(
                own.scores,
                baseline_scores(x, pool.y, own),
                PatientBootstrap.draw(own.scores, own.seed, 300),
            )
            for own in drawn
        ]
        truth = np.mean([own.truth for own in drawn])
        mean = np.mean([one.auroc for one in found])
        wrong = np.mean([one.interval.excludes(0) for one in found])
        better = np.mean([one.interval.low > 0 for one in found])
        plain = np.mean([one.bootstrap.excludes(0) for one in found])
        say(
            f"{n:>5} {truth:>6.3f} {as_good:>9.3f} {mean:>+11.3f} {wrong:>8.1%} {better:>7.1%} "
            f"{plain:>10.1%}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
