"""Fixed effects of the mixed head: what is known of each patient beside the cells, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recart.training.heads import Array, BagLatents

__all__ = ["FixedEffects"]


@dataclass(frozen=True)
class FixedEffects:
    """Standardised extras and whether each was measured; together they weigh as one feature.

    Nothing is extrapolated beyond the training bags; what was not measured is their mean. What no
    training bag tells apart has no weight.
    """

    names: Sequence[str]
    mean: Array
    scale: Array
    low: Array
    high: Array

    @staticmethod
    def fit(bags: BagLatents) -> FixedEffects:
        """On development bags; no label enters."""
        raw = _raw(bags, bags.extra_names)
        there = np.isfinite(raw)
        count = np.maximum(there.sum(0), 1)
        mean = np.where(there, raw, 0.0).sum(0) / count
        spread = np.sqrt(np.where(there, (raw - mean) ** 2, 0.0).sum(0) / count)
        scale = np.where(spread > 1e-9, spread * np.sqrt(max(1, raw.shape[1])), np.inf)
        low = np.where(there, raw, mean).min(0)
        high = np.where(there, raw, mean).max(0)
        return FixedEffects(list(bags.extra_names), mean, scale, low, high)

    def apply(self, bags: BagLatents) -> Array:
        """(n, f + 1); the last is the intercept's 1."""
        raw = _raw(bags, self.names)
        scaled = (np.minimum(np.maximum(raw, self.low), self.high) - self.mean) / self.scale
        known = np.where(np.isfinite(raw) & np.isfinite(self.scale), scaled, 0.0)
        joined: Array = np.concatenate([known, np.ones((len(raw), 1))], axis=1)
        return joined

    @property
    def feature_names(self) -> list[str]:
        """Of the columns, without the intercept."""
        return [*self.names, *(f"{name}:missing" for name in self.names)]


def _raw(bags: BagLatents, names: Sequence[str]) -> Array:
    """(n, 2 f) extras of these names, NaN where the bags have none, and whether they lack."""
    own = {name: i for i, name in enumerate(bags.extra_names)}
    lacking = np.full(len(bags.extras), np.nan)
    columns = [bags.extras[:, own[name]] if name in own else lacking for name in names]
    values = np.stack(columns, axis=1) if columns else np.zeros((len(bags.extras), 0))
    joined: Array = np.concatenate([values, ~np.isfinite(values)], axis=1).astype(np.float64)
    return joined
