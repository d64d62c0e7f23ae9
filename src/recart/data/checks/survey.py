"""One pass over all stored values: what kind of numbers they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np

__all__ = ["Survey", "survey"]

# small enough for the block and its comparison to stay in cache
_BLOCK: Final = 1 << 17
# log1p of a million is 13.8; log2 of it is 20
_LOG_MAX: Final = 21.0


@dataclass(frozen=True)
class Survey:
    """Counts of values by kind; `minimum` and `maximum` over the finite ones."""

    n: int = 0
    minimum: float = np.inf
    maximum: float = -np.inf
    negative: int = 0
    fractional: int = 0
    nan: int = 0
    inf: int = 0

    def __add__(self, other: Survey) -> Survey:
        """The survey of both sets of values."""
        return Survey(
            self.n + other.n,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.negative + other.negative,
            self.fractional + other.fractional,
            self.nan + other.nan,
            self.inf + other.inf,
        )

    @property
    def counts(self) -> bool:
        """Whether all values are whole, finite and not negative."""
        return not (self.negative or self.fractional or self.nan or self.inf)

    @property
    def log_like(self) -> bool:
        """Whether most values are fractional and none is larger than a log of a count."""
        return self.fractional > 0.5 * self.n and self.minimum >= 0 and self.maximum <= _LOG_MAX

    def __str__(self) -> str:
        """A verdict in words, with the values that led to it."""
        if self.n == 0:
            return "no values"
        if self.counts:
            return f"counts (max {self.maximum:g})"
        shares = [
            f"{count / self.n:.2%} {name}"
            for name, count in (
                ("not whole", self.fractional),
                ("negative", self.negative),
                ("NaN", self.nan),
                ("infinite", self.inf),
            )
            if count
        ]
        kind = "looks like log1p, " if self.log_like else ""
        return f"{kind}min {self.minimum:g}, max {self.maximum:g}, {', '.join(shares)}"


def survey(values: np.ndarray[Any, Any]) -> Survey:
    """Survey all values of an array of any shape, block by block, without a copy of it."""
    flat = values.reshape(-1)
    blocks = (flat[i : i + _BLOCK] for i in range(0, flat.size, _BLOCK))
    return reduce(Survey.__add__, map(_survey_block, blocks), Survey())


def _survey_block(block: np.ndarray[Any, Any]) -> Survey:
    if block.dtype.kind in "ub":
        return Survey(block.size, float(block.min()), float(block.max()))
    low, high = float(block.min()), float(block.max())
    nan = inf = 0
    if not (np.isfinite(low) and np.isfinite(high)):
        nan, inf = int(np.isnan(block).sum()), int(np.isinf(block).sum())
        block = block[np.isfinite(block)]
        low = float(block.min(initial=np.inf))
        high = float(block.max(initial=-np.inf))
    negative = int(np.count_nonzero(block < 0)) if low < 0 else 0
    fractional = 0
    if block.dtype.kind == "f":
        fractional = int(np.count_nonzero(np.trunc(block) != block))
    return Survey(block.size + nan + inf, low, high, negative, fractional, nan, inf)
