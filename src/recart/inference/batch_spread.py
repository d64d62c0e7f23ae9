"""How much the prediction of an unseen batch would vary if it were one of the known ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.features import BoundFeatures
from recart.data.store import CohortStore
from recart.training.bag_latents import bag_latents
from recart.training.member_file import LoadedMember

__all__ = ["batch_spread"]


def batch_spread(
    member: LoadedMember,
    bound: BoundFeatures,
    store: CohortStore,
    bags: Bags,
    extras: pd.DataFrame,
    workers: int = 1,
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(n) highest less lowest probability, with unseen batches taken for each known one in turn.

    The prediction itself is that of the mean over batches. 0 where every batch is known. `workers`
    threads encode.
    """
    sample_of_cell = store.cells["sample"].to_numpy()
    unseen = bound.batch_of_sample < 0
    rows = [n for n in range(len(bags)) if unseen[sample_of_cell[bags.cells([n])]].any()]
    spread = np.zeros(len(bags))
    batches = len(bound.features.spec.batches)
    if not rows or batches < 2:
        return spread
    found = []
    for batch in range(batches):
        as_if = replace(bound, batch_of_sample=np.where(unseen, batch, bound.batch_of_sample))
        seen = bag_latents(member.stack, as_if, store, bags, rows, extras, workers)
        found.append(1 / (1 + np.exp(-member.rule.log_odds(member.head.logits(seen)))))
    spread[rows] = np.ptp(np.stack(found), axis=0)
    return spread
