"""Weights of cells under which each clone of a sample counts once, however large it is."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["clone_weights"]


def clone_weights(
    clone: np.ndarray[Any, Any], sample: np.ndarray[Any, Any]
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(c) `(N / K) / n`: a sample has N cells with a clone, in K clones, this one of n cells.

    The weights of a clone add up to N / K and those of a sample to N, so that a sample has the
    weight that its cells would have. Nothing but the cell's own sample enters. 0 without a clone.

    Parameters
    ----------
    clone, sample
        (c) codes of each cell's clone (-1: none) and sample.
    """
    weight = np.zeros(len(clone), dtype=np.float32)
    has = clone >= 0
    if not has.any():
        return weight
    clones = int(clone.max()) + 1
    pairs = sample[has].astype(np.int64) * clones + clone[has]
    pair, place, size = np.unique(pairs, return_inverse=True, return_counts=True)
    cells_of_sample = np.bincount(sample[has])
    clones_of_sample = np.bincount(pair // clones)
    mean_size = cells_of_sample / np.maximum(clones_of_sample, 1)
    weight[has] = mean_size[sample[has]] / size[place]
    return weight
