"""Negative binomial counts by inversion of uniform numbers, fast where most counts are zero."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["invert_negative_binomial"]

Singles = np.ndarray[Any, np.dtype[np.float32]]
Integers = np.ndarray[Any, np.dtype[np.int64]]


def invert_negative_binomial(
    mean_cg: Singles, dispersion_g: Singles, uniform_cg: Singles
) -> tuple[Integers, Integers]:
    """Draw the counts whose distribution function first exceeds the uniform number.

    A count grows with its mean while its uniform number stays, and no other count changes: two
    cohorts with the same numbers differ only where their means do. All entries are compared with
    the probability of zero; only the others are inverted, one count at a time.

    Parameters
    ----------
    mean_cg
        (cells, genes) means, not negative.
    dispersion_g
        (genes,) positive overdispersion: variance = mean + dispersion * mean^2.
    uniform_cg
        (cells, genes) uniform on [0, 1).

    Returns
    -------
    flat, counts
        Positions of the counts above zero in the flattened matrix, ascending, and the counts.
    """
    size_g = 1 / dispersion_g
    zero_cg = np.exp(-size_g * np.log1p(mean_cg * dispersion_g))
    flat = np.flatnonzero(uniform_cg >= zero_cg)

    gene = flat % mean_cg.shape[1]
    mean = mean_cg.ravel()[flat].astype(np.float64)
    uniform = uniform_cg.ravel()[flat].astype(np.float64)
    size = size_g.astype(np.float64)[gene]
    fail = mean / (size + mean)
    # In double precision and from the start: rounding of `zero_cg` must not leave a gap.
    mass = np.exp(size * np.log1p(-fail))
    reached = mass.copy()
    # A positive count is at least one, whatever the rounding says.
    mass *= size * fail
    reached += mass
    counts = np.ones(flat.size, dtype=np.int64)
    left = np.arange(flat.size)
    k = 1
    while True:
        # Beyond 1 - 1e-10 the rounded tail cannot be told apart from its end.
        go = (uniform >= reached) & (reached < 1 - 1e-10)
        if not go.any():
            return flat, counts
        left, uniform, size, fail, mass, reached = (
            values[go] for values in (left, uniform, size, fail, mass, reached)
        )
        counts[left] += 1
        mass *= fail * (k + size) / (k + 1)
        reached += mass
        k += 1
