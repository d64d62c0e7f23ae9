"""How much the prediction of an unseen batch would vary if it were one of the known ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from recart.training.heads import BagLatents
from recart.training.member_file import LoadedMember

__all__ = ["batch_spread"]

_CELLS: Final = 2000  # of each bag that is read in every batch


def batch_spread(
    member: LoadedMember, bags: int, given: Sequence[BagLatents]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(n) highest less lowest probability of `bags` bags, in each known batch in turn.

    The prediction itself is that of the mean over batches. `given` are the bags in each, see
    `bag_latents_by_batch`; 0 where there are none, or a bag's batches are all known. Of a bag with
    more cells some are read, the same in every batch.
    """
    if not given:
        return np.zeros(bags)
    some = [_some_cells(own) for own in given]
    found = [1 / (1 + np.exp(-member.rule.log_odds(member.head.logits(own)))) for own in some]
    spread: np.ndarray[Any, np.dtype[np.float64]] = np.ptp(np.stack(found), axis=0)
    return spread


def _some_cells(bags: BagLatents) -> BagLatents:
    """Evenly spaced cells of every bag; a store's cells are shuffled inside each sample."""
    sizes = [len(latents) for latents in bags.latents]
    if max(sizes, default=0) <= _CELLS:
        return bags
    rows = [np.unique(np.linspace(0, n - 1, min(n, _CELLS)).astype(np.intp)) for n in sizes]
    return bags.with_cells(rows)
