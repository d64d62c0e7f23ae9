"""What each repeat of the cross-validation says of each bag, and how far the repeats spread."""

from __future__ import annotations

import pandas as pd
from scipy.special import expit

from recart.evaluation.predictions import BagScores

__all__ = ["per_repeat"]


def per_repeat(scores: BagScores) -> pd.DataFrame:
    """(n) index: bag. Held-out probability of every repeat, their mean and their spread.

    Returns
    -------
    Columns `repeat_<number>` (members of one fold averaged on the log-odds scale), `mean` (over
    repeats, also on the log-odds scale: `BagScores.probability`) and `spread` (standard deviation
    of the repeats' probabilities; NaN with one repeat).
    """
    table = scores.folds.pivot_table(index="bag", columns="repeat", values="log_odds")
    table = pd.DataFrame(
        expit(table.to_numpy()),
        index=table.index,
        columns=[f"repeat_{repeat}" for repeat in table.columns],
    )
    spread = table.std(axis=1, ddof=1)
    table["mean"] = scores.table["probability"].reindex(table.index)
    table["spread"] = spread
    return table
