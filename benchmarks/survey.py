"""Claim: checking every stored value of the input costs little more than reading it a few times.

`recart.data.checks.survey` counts negative, fractional, NaN and infinite values and finds the
range, in one pass. The floor is numpy's minimum and maximum of the same array: two passes, which
tell none of that.

    python benchmarks/survey.py [--values 10000000] [--runs 3]
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from clocks import Rates, now

from recart.data.checks.survey import survey

FLOOR, OURS = "minimum and maximum", "survey"


def main(values: int, runs: int) -> None:
    """Both in turn, medians."""
    counts = np.random.default_rng(0).poisson(2, values).astype(np.float32)
    rates = Rates()
    for _ in range(runs):
        before = now()
        counts.min(), counts.max()
        between = now()
        survey(counts)
        rates.add(FLOOR, between - before)
        rates.add(OURS, now() - between)
    for name in (FLOOR, OURS):
        cpu, wall = rates.median(name)
        ratio = cpu / rates.median(FLOOR)[0]
        sys.stdout.write(
            f"{name:20s} {counts.nbytes / 1e6 / cpu:8,.0f} MB/CPU s  {cpu:6.3f} s CPU "
            f"{wall:6.3f} s wall  {ratio:5.1f} x the floor's CPU time\n"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    main(options.values, options.runs)
