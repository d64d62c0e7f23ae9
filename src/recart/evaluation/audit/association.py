"""How closely one column follows the endpoint: a number, and a p-value that needs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact, rankdata

from recart.evaluation.predictions import FloatArray

__all__ = ["Permutations", "cramers_v", "holm", "level_table", "separation"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Permutations:
    """Labels dealt anew, the same draws for every column; so p-values repeat.

    Attributes
    ----------
    y
        (n) labels, 0 or 1.
    drawn
        (k, n) permutations of them.
    """

    y: FloatArray
    drawn: Array

    @classmethod
    def draw(cls, y: Sequence[int] | Array, count: int, seed: int = 0) -> Permutations:
        """Deal the labels `count` times."""
        rng = np.random.default_rng(seed)
        labels = np.asarray(y, dtype=float)
        return cls(labels, rng.permuted(np.tile(labels.astype(np.int8), (count, 1)), axis=1))

    def of_numbers(self, values: FloatArray) -> float:
        """Two-sided p of the ranks of `values` (n), all known: Mann and Whitney's, by draws."""
        ranks = rankdata(values) - (len(values) + 1) / 2
        return self._p(abs(ranks @ self.y), np.abs(self.drawn @ ranks))

    def of_levels(self, values: Array) -> float:
        """P of a table of levels by class: Fisher's exact for two levels, else chi-squared's draws.

        Monte Carlo p-values are (1 + draws at least as extreme) / (1 + draws), which is exact.
        """
        levels, code = np.unique(values.astype(str), return_inverse=True)
        if len(levels) < 2:
            return 1.0
        if len(levels) == 2:
            return float(fisher_exact(level_table(values, self.y))[1])
        member = np.eye(len(levels))[code]
        size = member.sum(axis=0)
        # with fixed margins chi-squared grows with the sum of squared positives over sizes
        return self._p(
            float((((self.y @ member) ** 2) / size).sum()),
            (((self.drawn @ member) ** 2) / size).sum(axis=1),
        )

    def of_order(self, order: Array) -> float:
        """P of as few changes of class along this order of the rows: one-sided, by draws."""
        same = float((self.y[order][1:] == self.y[order][:-1]).sum())
        drawn = self.drawn[:, order]
        return self._p(same, (drawn[:, 1:] == drawn[:, :-1]).sum(axis=1))

    @staticmethod
    def _p(observed: float, drawn: Array) -> float:
        return float((1 + (drawn >= observed - 1e-9).sum()) / (1 + len(drawn)))


def level_table(values: Array, y: FloatArray) -> Array:
    """(levels, 2) counts of both classes."""
    levels, code = np.unique(values.astype(str), return_inverse=True)
    return np.stack([np.bincount(code[y == c], minlength=len(levels)) for c in (0, 1)], axis=1)


def cramers_v(values: Array, y: FloatArray) -> float:
    """Cramer's V of a column of levels and a binary label: 0 unrelated, 1 one gives the other."""
    table = level_table(values, y).astype(float)
    if min(table.shape) < 2:
        return 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    if (expected == 0).any():
        return 0.0
    return float(np.sqrt(((table - expected) ** 2 / expected).sum() / table.sum()))


def separation(values: pd.Series[Any], y: FloatArray) -> float:
    """AUROC of the column alone, in whichever direction is above .5.

    Levels are ranked by their share of positives, by hindsight: with many levels it is 1 by itself,
    and only the p-value says whether that means anything.
    """
    numbers = values
    if not pd.api.types.is_numeric_dtype(values):
        numbers = pd.Series(y).groupby(values.astype(str).to_numpy()).transform("mean")
    ranks = rankdata(numbers.to_numpy(dtype=float))
    positives = int(y.sum())
    negatives = len(y) - positives
    u = ranks[y == 1].sum() - positives * (positives + 1) / 2
    auroc = u / (positives * negatives)
    return float(max(auroc, 1 - auroc))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values by name."""
    adjusted, so_far = {}, 0.0
    for i, (name, value) in enumerate(sorted(p.items(), key=lambda item: item[1])):
        so_far = max(so_far, min(1.0, (len(p) - i) * value))
        adjusted[name] = so_far
    return adjusted
