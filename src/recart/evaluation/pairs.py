"""Which bag of which other one is ranked before: the comparisons that an AUROC is the mean of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from recart.data.split import Kind
from recart.evaluation.predictions import BagScores, FloatArray

__all__ = ["pair_auroc", "pair_wins"]


def pair_wins(scores: BagScores) -> tuple[FloatArray, FloatArray]:
    """Comparisons of every positive with every negative bag.

    Returns
    -------
    wins
        (positive, negative) 1 where the positive bag is ranked higher, 1/2 for a tie, 0 else; the
        mean over repeats.
    compared
        (positive, negative) 1 where the two are compared.

    Notes
    -----
    Where pairs were held out together, two bags are compared by the one model that has seen
    neither; bags of one patient are not compared. In every other kind of split bags are compared by
    their scores, each with each.
    """
    positive = scores.y > 0.5
    if scores.kind is not Kind.PAIRS:
        rank = rankdata(scores.score, method="dense")
        wins = _win(rank[positive][:, None] - rank[~positive][None, :])
        return wins, np.ones_like(wins)
    row = np.full(len(positive), -1)
    row[positive], row[~positive] = np.arange(positive.sum()), np.arange((~positive).sum())
    folds = scores.folds.assign(
        row=row[scores.table.index.get_indexer(pd.Index(scores.folds["bag"]))],
        # a model that says the same of both must not rank them by a rounding error
        logit=scores.folds["logit"].round(9),
    )
    keys = ["repeat", "fold"]
    joined = folds[folds["y"] == 1].merge(folds[folds["y"] == 0], on=keys, suffixes=("", "_0"))
    joined = joined[joined["patient"] != joined["patient_0"]]
    at: tuple[Any, Any] = (joined["row"].to_numpy(), joined["row_0"].to_numpy())
    shape = (int(positive.sum()), int((~positive).sum()))
    wins, times = np.zeros(shape), np.zeros(shape)
    np.add.at(wins, at, _win((joined["logit"] - joined["logit_0"]).to_numpy(dtype=float)))
    np.add.at(times, at, 1.0)
    return wins / np.maximum(times, 1), (times > 0).astype(float)


def pair_auroc(scores: BagScores) -> float:
    """Share of the compared pairs that are ranked rightly, ties one half."""
    wins, compared = pair_wins(scores)
    return float(wins.sum() / compared.sum())


def _win(gap: FloatArray) -> FloatArray:
    return np.where(gap > 0, 1.0, np.where(gap == 0, 0.5, 0.0))
