"""Deletion test of attention over cells: whether what it points to carries the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recart.training.cell_attention_head import FittedCellAttentionHead
from recart.training.heads import Array, BagLatents, FittedHead

__all__ = ["DeletionCurve", "deletion_curve"]


@dataclass(frozen=True)
class DeletionCurve:
    """How far logits move as cells are taken away.

    Attributes
    ----------
    shares
        (d) share of each bag's cells that is taken away.
    top, random
        (d, n) absolute change of each bag's logit when the most attended cells go, and its mean
        over random draws of as many.
    """

    shares: Array
    top: Array
    random: Array

    @property
    def ratio(self) -> Array:
        """(d) mean change by the most attended cells over that by random ones; above 1 is sound."""
        ratio: Array = self.top.mean(1) / np.maximum(self.random.mean(1), 1e-12)
        return ratio


def deletion_curve(
    attending: FittedCellAttentionHead,
    scoring: FittedHead,
    bags: BagLatents,
    shares: Sequence[float],
    draws: int,
    seed: int,
) -> DeletionCurve:
    """Delete cells by the attention of one head and at random, and read another's logits again.

    The two are the same, or the one is a part of the other, whose score is explained. A bag keeps
    one cell at least. `draws` random deletions are averaged.
    """
    whole, attention = scoring.logits(bags), attending.attention(bags)
    rng = np.random.default_rng(seed)
    top, random = [], []
    for share in shares:
        counts = [min(len(own) - 1, round(share * len(own))) for own in attention]
        first = [
            np.argsort(-own, kind="stable")[k:] for own, k in zip(attention, counts, strict=True)
        ]
        top.append(np.abs(scoring.logits(bags.with_cells([np.sort(own) for own in first])) - whole))
        moved = []
        for _ in range(draws):
            kept = [
                np.sort(rng.permutation(len(own))[k:])
                for own, k in zip(attention, counts, strict=True)
            ]
            moved.append(np.abs(scoring.logits(bags.with_cells(kept)) - whole))
        random.append(np.mean(moved, axis=0))
    return DeletionCurve(np.array(shares), np.stack(top), np.stack(random))
