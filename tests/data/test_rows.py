"""Rows by slices give what indexing by rows gives, in memory and on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from scipy import sparse

from recart.data.rows import RowArray, pieces, read_rows
from recart.data.store_arrays import CsrOnDisk, write_dense, write_rna

CELLS = 60
DENSE = np.random.default_rng(0).poisson(0.7, (CELLS, 5)).astype(np.uint16)
ROWS = {
    "none": [],
    "one": [7],
    "slice": list(range(10, 30)),
    "all": list(range(CELLS)),
    "runs": [3, 4, 5, 40, 41, 9, 10],
    "backwards": [5, 4, 3],
    "twice": [5, 5, 6, 5],
    "last": [CELLS - 1],
}


@pytest.fixture(params=["numpy", "csr", "zarr", "csr on disk"])
def array(request: Any, tmp_path: Path) -> RowArray:
    if request.param == "numpy":
        return DENSE
    if request.param == "csr":
        return sparse.csr_matrix(DENSE)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    if request.param == "zarr":
        write_dense(group, "protein", DENSE)
        return group["protein"]
    write_rna(group, sparse.csr_matrix(DENSE))
    return CsrOnDisk(group["X"])


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_rows_in_the_given_order(array: RowArray, rows: list[int]) -> None:
    index = np.array(rows, dtype=np.int64)
    read = read_rows(array, index)
    assert read.dtype == DENSE.dtype
    assert read.shape == (len(rows), 5)
    np.testing.assert_array_equal(read.toarray() if sparse.issparse(read) else read, DENSE[index])


def test_pieces_are_all_rows_in_order() -> None:
    rows = np.random.default_rng(1).permutation(23)
    parts = list(pieces(rows, 5))
    assert [len(part) for part in parts] == [5, 5, 5, 5, 3]
    np.testing.assert_array_equal(np.concatenate(parts), rows)
    assert not list(pieces(rows[:0]))
