"""Inner folds of a member's development bags: what is chosen is chosen on these."""

from __future__ import annotations

from typing import Final

import numpy as np

from recart.training.heads import Array

__all__ = ["FEWEST", "inner_folds"]

FEWEST: Final = 2  # patients of each class that can be dealt into folds


def inner_folds(
    labels: Array, patients: Array, folds: int, seed: int, grade: Array | None = None
) -> list[Array]:
    """Test rows of each inner fold, stratified by label and then by grade; patients stay whole.

    Raises
    ------
    ValueError
        If a class has fewer than two patients.
    """
    owners, owner = np.unique(patients, return_inverse=True)
    bags = np.bincount(owner)
    share = np.bincount(owner, labels) / bags
    smaller = int(min((share < 1).sum(), (share > 0).sum()))
    if smaller < FEWEST:
        raise ValueError(
            f"inner folds need two patients of each class among the development patients, "
            f"the smaller class has {smaller}; use more outer folds (data.folds.k), which hold out "
            "fewer patients"
        )
    # dealt in turn, sorted by label and then by number of bags, else in random order
    turn = np.random.default_rng(seed).permutation(len(owners))
    keys = (turn, bags, share) if grade is None else (turn, bags, _mean(grade, owner), share)
    order = np.lexsort(keys)
    fold = np.empty(len(owners), dtype=np.int64)
    k = min(folds, smaller)
    fold[order] = np.arange(len(owners)) % k
    return [np.flatnonzero(fold[owner] == number) for number in range(k)]


def _mean(value: Array, owner: Array) -> Array:
    mean: Array = np.bincount(owner, value) / np.bincount(owner)
    return mean
