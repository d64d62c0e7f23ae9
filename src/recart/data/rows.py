"""Rows of an array, read alike whether it lies in memory or on disk: by contiguous slices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from scipy import sparse

__all__ = ["PIECE", "RowArray", "pieces", "read_rows"]

PIECE = 4096  # rows read at once; some megabytes of a sparse cells x genes matrix

Rows = np.ndarray[Any, Any]


class RowArray(Protocol):
    """An array of one row per cell that gives its rows by slices.

    Satisfied by numpy arrays and CSR matrices in memory, by `zarr.Array` and `CsrOnDisk` on disk. A
    slice is in memory: a numpy array or a CSR matrix.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Rows `start` to `stop`."""


def pieces(rows: Rows, size: int = PIECE) -> Iterator[Rows]:
    """Consecutive parts of `rows`, of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def read_rows(array: RowArray, rows: Rows) -> Any:
    """The given rows, in the given order, in memory.

    Rows that follow each other are read as one slice: sequential on disk, a view in memory.
    """
    if len(rows) == 0:
        return array[0:0]
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    starts = rows[np.concatenate([[0], breaks])]
    stops = rows[np.concatenate([breaks, [len(rows)]]) - 1] + 1
    if len(starts) == 1:
        return _run(array, int(starts[0]), int(stops[0]))
    if isinstance(array, np.ndarray) or sparse.issparse(array):
        in_memory: Any = array
        return in_memory[rows]
    runs = [array[int(a) : int(b)] for a, b in zip(starts, stops, strict=True)]
    if sparse.issparse(runs[0]):
        return sparse.vstack(runs, format="csr")
    return np.concatenate(runs)


def _run(array: RowArray, start: int, stop: int) -> Any:
    """Rows that follow each other; of a matrix in memory its own numbers, which scipy copies."""
    if not isinstance(array, sparse.csr_matrix):
        return array[start:stop]
    first, last = array.indptr[start], array.indptr[stop]
    within = array.indptr[start : stop + 1] - first
    parts = (array.data[first:last], array.indices[first:last], within)
    return sparse.csr_matrix(parts, shape=(stop - start, array.shape[1]), copy=False)
