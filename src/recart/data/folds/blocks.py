"""Blocks: patients that share a library, a site or a family, and so stay on one side of a fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from recart.data.folds.patient_columns import PatientColumns
from recart.problems import InputError, Problem, Problems

__all__ = ["BlockColumns", "Codes", "block_words", "blocks_of", "shared_blocks"]

Codes = np.ndarray[Any, np.dtype[np.int64]]
BlockColumns = str | Sequence[str] | None
"""A column whose values tie patients together, several of them, or none."""


def blocks_of(codes: Codes, block: BlockColumns, columns: PatientColumns | None) -> Codes:
    """Number of the block of each patient of `codes` (ascending); without a column, one each.

    Blocks are connected components: a patient with samples in two libraries ties the patients of
    both together, and with two columns, one's library and the other's family tie three. A patient
    without a value shares with nobody.

    Raises
    ------
    InputError
        If columns are not there.
    """
    names = _names(block)
    if not names:
        return np.arange(len(codes))
    if columns is None:
        raise InputError([_no_tables(", ".join(names))])
    problems, tables = Problems(), []
    for name in names:
        try:
            table = columns.values(name, codes)
        except InputError as error:
            problems.errors += error.problems
        else:
            # the same word in two columns is two values
            tables.append(table.assign(value=f"{name}\0" + table["value"]))
    problems.raise_if_any()
    return components(codes, pd.concat(tables, ignore_index=True))


def block_words(block: BlockColumns) -> str:
    """The columns, for people; empty without any."""
    return ", ".join(_names(block))


def _names(block: BlockColumns) -> list[str]:
    if block is None:
        return []
    return [str(name) for name in block] if isinstance(block, list | tuple) else [str(block)]


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
