"""Blocks: patients that share a library, a site or a family, and so stay on one side of a fold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recart.data.folds.patient_columns import PatientColumns
from recart.problems import InputError, Problem

__all__ = ["Codes", "blocks_of", "shared_blocks"]

Codes = np.ndarray[Any, np.dtype[np.int64]]


def blocks_of(codes: Codes, column: str | None, columns: PatientColumns | None) -> Codes:
    """Number of the block of each patient of `codes` (ascending); without a column, one each.

    Blocks are connected components: a patient with samples in two libraries ties the patients of
    both together. A patient without a value shares with nobody.

    Raises
    ------
    InputError
        If the column is not there.
    """
    if column is None:
        return np.arange(len(codes))
    if columns is None:
        raise InputError([_no_tables(column)])
    return components(codes, columns.values(column, codes))


def components(codes: Codes, values: pd.DataFrame) -> Codes:
    """Connected components of patients and the values they have."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    patient = np.searchsorted(codes, values["patient"].to_numpy(dtype=np.int64))
    value, names = pd.factorize(values["value"])
    size = len(codes) + len(names)
    edges = coo_matrix((np.ones(len(patient)), (patient, len(codes) + value)), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    # numbered in the order of their first patient, whatever order the tables have
    _, first, inverse = np.unique(component[: len(codes)], return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    blocks: Codes = rank[inverse]
    return blocks


def shared_blocks(codes: Codes, block: Codes) -> tuple[tuple[int, ...], ...]:
    """The patients of every block of two or more, for the split."""
    groups = [tuple(codes[block == own].tolist()) for own in range(int(block.max()) + 1)]
    return tuple(group for group in groups if len(group) > 1)


def _no_tables(column: str) -> Problem:
    return Problem(
        code="E-FOLD-004",
        column=column,
        what="the folds are made by a column, but no tables are at hand",
        mend="give the scheme the columns of the cohort",
    )
