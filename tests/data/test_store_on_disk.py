"""A store that stays on disk: the same cells, written and read in pieces, chosen by its size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import zarr
from scipy import sparse

from recart.data import store_arrays
from recart.data.store import CohortStore, open_store, write_store

MakeStore = Callable[..., CohortStore]


def _equal(one: CohortStore, other: CohortStore) -> None:
    for a, b in ((one.rna, other.rna), (one.protein, other.protein)):
        assert a is not None
        assert b is not None
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        for rows in (slice(0, a.shape[0]), slice(5, 6), slice(7, 31)):
            x, y = a[rows], b[rows]
            if sparse.issparse(x):
                assert sparse.isspmatrix_csr(y)
                assert y.indices.dtype == y.indptr.dtype == np.int32
                x, y = x.toarray(), y.toarray()
            np.testing.assert_array_equal(x, y)
    assert one.cells.equals(other.cells)


@pytest.mark.parametrize("written", [16, 50, 10_000])
def test_pieces_and_places_change_nothing(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    monkeypatch.setattr(store_arrays, "_WRITTEN", written)
    monkeypatch.setattr(store_arrays, "_CHUNK", 64)
    monkeypatch.setattr(store_arrays, "_CHUNK_ROWS", 8)
    monkeypatch.setattr(store_arrays, "_SHARD", 4)
    store = make_store(patients=3)
    write_store(store, tmp_path / "a.zarr")
    memory, disk = (open_store(tmp_path / "a.zarr", in_memory=where) for where in (True, False))
    _equal(store, memory)
    _equal(store, disk)
    assert memory.path is None
    assert disk.path == tmp_path / "a.zarr"
    assert sparse.isspmatrix_csr(memory.rna)
    assert not sparse.issparse(disk.rna)
    assert isinstance(disk.protein, zarr.Array)
    # a store on disk can be written elsewhere, and other tools read what was written in pieces
    write_store(disk, tmp_path / "b.zarr")
    _equal(store, open_store(tmp_path / "b.zarr", in_memory=True))
    adata = anndata.read_zarr(tmp_path / "b.zarr")
    np.testing.assert_array_equal(adata.X.toarray(), memory.rna.toarray())
    np.testing.assert_array_equal(adata.obsm["protein"], store.protein)


def test_many_non_zeros_lie_in_few_files(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(patients=2, cells=2000)
    rna = sparse.random(len(store.cells), 4000, 0.1, "csr", np.float32, rng=0)
    rna.data = (1 + 20 * rna.data).astype(np.uint16)
    genes = tuple(f"G{i}" for i in range(4000))
    write_store(replace(store, rna=rna, genes=genes), tmp_path / "a.zarr")
    files = [p for p in (tmp_path / "a.zarr/X/data").rglob("*") if p.is_file()]
    assert rna.nnz > 4 * store_arrays._CHUNK
    assert len(files) == 2  # one shard and its description
    # compressed: less than half of its size in memory
    size = sum(p.stat().st_size for p in (tmp_path / "a.zarr/X").rglob("*") if p.is_file())
    assert size < 3 * rna.nnz


@pytest.mark.parametrize(("free", "expected"), [(1.9, False), (2.1, True)])
def test_memory_is_chosen_where_half_of_it_is_enough(
    make_store: MakeStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free: float,
    expected: bool,
) -> None:
    store = make_store(patients=2)
    write_store(store, tmp_path / "a.zarr")
    assert store.protein is not None
    assert store.receptor is not None
    rna: Any = store.rna
    # index pointers are written with 8 bytes
    size = rna.data.nbytes + rna.indices.nbytes + 8 * len(rna.indptr)
    size += store.protein.nbytes + store.receptor.nbytes
    monkeypatch.setattr("recart.data.store.free_memory", lambda: int(free * size))
    read = open_store(tmp_path / "a.zarr")
    assert (read.path is None) == expected
    _equal(store, read)


def test_matrix_of_no_genes_and_rows_without_counts(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(patients=2)
    empty = sparse.csr_matrix(store.rna.shape, dtype=np.uint16)
    write_store(replace(store, rna=empty), tmp_path / "a.zarr")
    for where in (True, False):
        read = open_store(tmp_path / "a.zarr", in_memory=where)
        assert read.rna[0:10].nnz == 0
        assert read.rna.shape == empty.shape
