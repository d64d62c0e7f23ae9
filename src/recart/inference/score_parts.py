"""What a head's score is made of: regressions on features, residuals, and what has no names.

The one place that knows how kinds of heads are built of each other; explanation, attribution to
cells and pictures ask it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recart.training.attention_head import AttentionResidual, FittedAttentionHead
from recart.training.ensemble_head import FittedEnsembleHead
from recart.training.heads import BagLatents, FittedHead
from recart.training.prototype_head import FittedPrototypeHead
from recart.training.readouts import FittedReadouts

__all__ = ["ScoreParts", "score_parts"]


@dataclass(frozen=True, kw_only=True)
class ScoreParts:
    """Parts whose weighted sum is the score of a head, each with its weight.

    Attributes
    ----------
    linear
        Heads that are linear in features with names.
    residuals
        What attention adds to them.
    others
        Heads of which only the whole score is known.
    """

    linear: Sequence[tuple[FittedPrototypeHead, float]] = ()
    residuals: Sequence[tuple[AttentionResidual, float]] = ()
    others: Sequence[tuple[FittedHead, float]] = ()

    @property
    def hazard(self) -> bool:
        """Whether the score is a log hazard: log-odds of such an endpoint are not linear in it."""
        return any(own.endpoint.kind == "survival" for own, _ in self.linear)

    def rest(self, bags: BagLatents) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(n) what residuals and other heads add."""
        total = np.zeros(len(bags.latents))
        for residual, weight in self.residuals:
            total += weight * residual.read(bags)[0]
        for head, weight in self.others:
            total += weight * np.asarray(head.logits(bags), dtype=np.float64)
        return total


def score_parts(head: FittedHead, weight: float = 1.0) -> ScoreParts:
    """The parts of a head that enters a sum with `weight`; of several readouts the leading one's.

    A head of a class that this does not know is one of `others`. What an ensemble gives no weight
    is no part of its score.
    """
    if isinstance(head, FittedPrototypeHead):
        return ScoreParts(linear=((head, weight),))
    if isinstance(head, FittedReadouts):
        return score_parts(next(iter(head.parts.values())), weight)
    if isinstance(head, FittedAttentionHead):
        base = score_parts(head.base, weight)
        own = () if head.residual is None else ((head.residual, weight),)
        return ScoreParts(linear=base.linear, residuals=(*base.residuals, *own), others=base.others)
    if isinstance(head, FittedEnsembleHead):
        pairs = zip(head.parts.values(), head.weights, strict=True)
        parts = [score_parts(own, weight * share) for own, share in pairs if share]
        return ScoreParts(
            linear=[pair for own in parts for pair in own.linear],
            residuals=[pair for own in parts for pair in own.residuals],
            others=[pair for own in parts for pair in own.others],
        )
    return ScoreParts(others=((head, weight),))
