"""How much the prediction of an unseen batch would vary if it were one of the known ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recart.training.heads import BagLatents
from recart.training.member_file import LoadedMember

__all__ = ["batch_spread"]


def batch_spread(
    member: LoadedMember, bags: int, given: Sequence[BagLatents]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(n) highest less lowest probability of `bags` bags, in each known batch in turn.

    The prediction itself is that of the mean over batches. `given` are the bags in each, see
    `bag_latents_by_batch`; 0 where there are none, or a bag's batches are all known.
    """
    if not given:
        return np.zeros(bags)
    found = [1 / (1 + np.exp(-member.rule.log_odds(member.head.logits(own)))) for own in given]
    spread: np.ndarray[Any, np.dtype[np.float64]] = np.ptp(np.stack(found), axis=0)
    return spread
