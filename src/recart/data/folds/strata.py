"""Strata of patients: those with bags of label 1 only, of both labels, of label 0 only."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from recart.data.folds.blocks import Codes

__all__ = ["HOLDING", "STRATA", "class_counts", "strata"]

# A patient whose bags have both labels stands between the classes, see `dealing.deal`.
_ONLY_1, _BOTH, _ONLY_0 = range(3)
STRATA: Final = (_ONLY_1, _BOTH, _ONLY_0)
# strata whose patients have a bag of the label
HOLDING: Final = {1: (_ONLY_1, _BOTH), 0: (_ONLY_0, _BOTH)}


def strata(patients: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> tuple[Codes, Codes]:
    """Patient codes, ascending, and the stratum of each, from one row per bag."""
    wrong = sorted(set(np.unique(labels).tolist()) - {0, 1})
    if wrong:
        raise ValueError(f"labels must be 0 or 1, found {wrong}; leave unlabelled bags out")
    codes, row = np.unique(np.asarray(patients, dtype=np.int64), return_inverse=True)
    ones = np.bincount(row, weights=labels)
    share = ones / np.bincount(row)
    return codes, np.where(share == 1, _ONLY_1, np.where(share == 0, _ONLY_0, _BOTH))


def class_counts(stratum: Codes, block: Codes) -> Codes:
    """(block, 2) patients of each block with a bag of label 1, and of label 0."""
    counts = np.zeros((int(block.max()) + 1, 2), dtype=np.int64)
    for column, holding in enumerate(HOLDING.values()):
        np.add.at(counts[:, column], block[np.isin(stratum, holding)], 1)
    return counts
