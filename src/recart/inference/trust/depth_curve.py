"""What a cell of a given depth usually costs: deep cells have more to explain than shallow ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

__all__ = ["NOTHING_MEASURED", "DepthCurve"]

Array = np.ndarray[Any, np.dtype[Any]]

_MAD: Final = 1.4826  # of a normal distribution: its standard deviation over its median deviation
_FEWEST: Final = 20


@dataclass(frozen=True, kw_only=True)
class DepthCurve:
    """A quadratic in log depth, flat outside of `low` to `high`, and the spread around it.

    Where nothing was measured `scale` is 0, and nothing can be said of any cell.
    """

    coefficients: tuple[float, float, float] = (0.0, 0.0, 0.0)
    low: float = 0.0
    high: float = 0.0
    scale: float = 0.0

    @classmethod
    def fit(cls, depth: Array, cost: Array) -> DepthCurve:
        """From cells (c)."""
        sound = np.isfinite(cost) & np.isfinite(depth)
        if sound.sum() < _FEWEST:
            return NOTHING_MEASURED
        depth, cost = depth[sound], cost[sound]
        low, high = (float(q) for q in np.quantile(depth, (0.01, 0.99)))
        clipped = np.clip(depth, low, high)
        degree = 2 if high - low > 1e-6 else 0
        fitted = [float(c) for c in np.polynomial.polynomial.polyfit(clipped, cost, degree)]
        a, b, c = (*fitted, 0.0, 0.0)[:3]
        off = cost - (a + b * clipped + c * clipped**2)
        scale = _MAD * float(np.median(np.abs(off - np.median(off))))
        return cls(coefficients=(a, b, c), low=low, high=high, scale=max(scale, 1e-9))

    def excess(self, depth: Array, cost: Array) -> Array:
        """(c) cost above what is usual at the depth, in standard deviations; NaN if not known."""
        if self.scale == 0:
            return np.full(len(cost), np.nan)
        a, b, c = self.coefficients
        clipped = np.clip(depth, self.low, self.high)
        result: Array = (cost - (a + b * clipped + c * clipped**2)) / self.scale
        return result

    def plain(self) -> dict[str, Any]:
        """Plain Python."""
        return {
            "coefficients": list(self.coefficients),
            "low": self.low,
            "high": self.high,
            "scale": self.scale,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> DepthCurve:
        """What `plain` was made of."""
        return cls(**{**plain, "coefficients": tuple(plain["coefficients"])})


NOTHING_MEASURED: Final = DepthCurve()
