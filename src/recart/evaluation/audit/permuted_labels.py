"""Labels permuted per patient: what the cells say of them can then be chance only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

__all__ = ["class_sizes", "permuted_labels"]

Array = np.ndarray[Any, Any]

_TRIES: Final = 200  # for each permutation that is asked for


def permuted_labels(
    labels: Array,
    patients: Array,
    development: Sequence[Array],
    count: int,
    seed: int,
    groups: Array | None = None,
) -> list[Array]:
    """`count` permutations of the labels over patients.

    A patient is given the labels of another: all bags of a patient move together. Where the two
    have different numbers of bags, labels are repeated or dropped. The labels of a patient whose
    bags differ are shuffled among these bags as well.

    Parameters
    ----------
    labels, patients
        (n) label, 0 or 1, and patient of each bag.
    development
        Rows of the development bags of each fold. A permutation that leaves one of them fewer than
        two groups of a class is drawn again.
    count, seed
        How many, and from which stream.
    groups
        (n) what inner folds keep together; None for patients.

    Returns
    -------
    Fewer than `count` where folds are too small for permutations to be found.
    """
    rng = np.random.default_rng(seed)
    groups = patients if groups is None else groups
    rows = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    found: list[Array] = []
    for _ in range(count * _TRIES):
        if len(found) == count:
            break
        new = np.empty_like(labels)
        for own, other in zip(rows, rng.permutation(len(rows)), strict=True):
            new[own] = np.resize(rng.permutation(labels[rows[other]]), len(own))
        if all(_enough(new[fold], groups[fold]) for fold in development):
            found.append(new)
    return found


def class_sizes(labels: Array, patients: Array) -> tuple[float, float]:
    """Patients of class 0 and 1; one with bags of both counts for each by its share."""
    shares = [float(labels[patients == patient].mean()) for patient in np.unique(patients)]
    return len(shares) - sum(shares), sum(shares)


def _enough(labels: Array, groups: Array) -> bool:
    return all(len(np.unique(groups[labels == value])) >= 2 for value in (0, 1))
