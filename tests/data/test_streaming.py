"""Slabs read ahead: the cells and the order of memory, and no more than two windows held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recart.contracts import CellBatch, SparseRows
from recart.data import streaming
from recart.data.batches import Blocks, StackBatches
from recart.data.features import BoundFeatures, FeatureChoice, bind
from recart.data.store import CohortStore, open_store, write_store
from recart.data.streaming import ReadAhead, cut, windowed_order

MakeStore = Callable[..., CohortStore]
SLAB, WINDOW, BLOCK, BATCH = 24, 96, 8, 16


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slabs of 24 cells, windows of 96."""
    monkeypatch.setattr(streaming, "SLAB", SLAB)
    monkeypatch.setattr(streaming, "WINDOW", WINDOW)
    monkeypatch.setattr("recart.data.batches.WINDOW", WINDOW)


@given(
    sizes=st.lists(st.integers(1, 2048), min_size=1, max_size=200),
    block=st.sampled_from([16, 100, 1024]),
    seed=st.integers(0, 5),
)
def test_every_window_is_used_up_before_the_next(sizes: list[int], block: int, seed: int) -> None:
    cells = np.array(sizes)
    slab_of_block = np.repeat(np.arange(len(cells)), -(-cells // block))
    order = windowed_order(cells, slab_of_block, np.random.default_rng(seed))
    np.testing.assert_array_equal(np.sort(order), np.arange(len(slab_of_block)))
    again = windowed_order(cells, slab_of_block, np.random.default_rng(seed))
    np.testing.assert_array_equal(order, again)
    if cells.sum() <= streaming.WINDOW:
        plain = np.random.default_rng(seed).permutation(len(slab_of_block))
        np.testing.assert_array_equal(order, plain)
        return
    # at any time the slabs that were begun and are not finished make up one window at most
    slabs = slab_of_block[order]
    first = {slab: np.flatnonzero(slabs == slab)[0] for slab in set(slabs)}
    last = {slab: np.flatnonzero(slabs == slab)[-1] for slab in set(slabs)}
    for at in range(0, len(order), 7):
        open_cells = sum(cells[s] for s in first if first[s] <= at <= last[s])
        assert open_cells <= streaming.WINDOW + 2048


def test_windows_mix_samples_and_change_with_the_epoch() -> None:
    sizes = np.full(400, 2048)
    slab_of_block = np.repeat(np.arange(400), 64)
    orders = [
        slab_of_block[windowed_order(sizes, slab_of_block, np.random.default_rng((0, epoch)))]
        for epoch in range(2)
    ]
    window = streaming.WINDOW // 32  # blocks
    for slabs in orders:
        in_window = np.unique(slabs[: window // 2])
        assert len(in_window) > 25  # nearly all of the window's 32 slabs in its first half
        assert np.ptp(in_window) > 200  # from all over the cohort
    assert set(orders[0][:window]) != set(orders[1][:window])


def test_slabs_hold_whole_blocks() -> None:
    for block in (1, 24, 32, 1000, 5000):
        slabs = cut(7, 5000, block)
        assert slabs[0][0] == 7
        assert slabs[-1][1] == 5000
        assert all(a[1] == b[0] for a, b in pairwise(slabs))
        assert all((stop - start) % block == 0 for start, stop in slabs[:-1])
        assert all(stop - start <= max(block, streaming.SLAB) for start, stop in slabs)


def _on_disk(store: CohortStore, folder: Path) -> CohortStore:
    write_store(store, folder / "a.zarr")
    return open_store(folder / "a.zarr", in_memory=False)


def _bound(store: CohortStore, patients: list[int]) -> BoundFeatures:
    choice = FeatureChoice(n_genes=12, exclude=[], prior_cells=5)
    return bind(choice.fit(store, np.flatnonzero(store.cells["patient"].isin(patients)), 0), store)


def _batches(store: CohortStore, groups: list[list[int]], shuffled: bool) -> StackBatches:
    blocks = []
    for seed, group in enumerate(groups):
        rows = np.flatnonzero(store.samples["patient"].isin(group))
        slices = [store.sample_slice(int(row)) for row in rows]
        blocks.append(Blocks(slices, BLOCK, BATCH, seed))
    return StackBatches(store, [_bound(store, group) for group in groups], blocks, shuffled)


def _assert_equal(one: CellBatch, other: CellBatch) -> None:
    for f in fields(CellBatch):
        a, b = getattr(one, f.name), getattr(other, f.name)
        if isinstance(a, SparseRows):
            for g in fields(SparseRows):
                assert _same(getattr(a, g.name), getattr(b, g.name)), g.name
        else:
            assert _same(a, b), f.name


def _same(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("shuffled", [True, False])
def test_streamed_batches_are_those_of_memory(
    make_store: MakeStore, tmp_path: Path, shuffled: bool
) -> None:
    store = make_store(patients=8, cells=90)
    disk = _on_disk(store, tmp_path)
    groups = [[0, 1, 2, 3, 6], [1, 2, 4, 5], [7]]
    memory, streamed = (_batches(s, groups, shuffled) for s in (store, disk))
    assert memory.reader is None
    assert streamed.reader is not None
    for epoch in range(2):
        for batches in (memory, streamed):
            batches.set_epoch(epoch, [True, epoch == 0, True])
        for step in range(len(memory)):
            _assert_equal(memory[step], streamed[step])
    # the same epoch once more, as a validation pass; and steps out of order, only slower
    for step in (0, 1, 2, 9, 3):
        _assert_equal(memory[step], streamed[step])


@pytest.mark.usefixtures("small_windows")
def test_two_windows_are_held_and_every_slab_is_read_once(
    make_store: MakeStore, tmp_path: Path
) -> None:
    held = {}
    for patients in (10, 30):
        disk = _on_disk(make_store(patients=patients, cells=100, seed=1), tmp_path)
        batches = _batches(disk, [list(range(patients))], shuffled=True)
        assert batches.reader is not None
        reads: list[slice] = []
        inner = batches.reader._arrays["rna"]

        class Counted:
            shape, dtype = inner.shape, inner.dtype

            def __getitem__(
                self, rows: slice, inner: Any = inner, reads: list[slice] = reads
            ) -> Any:
                reads.append(rows)
                return inner[rows]

        batches.reader._arrays["rna"] = Counted()
        most = 0
        for step in range(len(batches)):
            batches[step]
            most = max(most, batches.reader.held)
        starts = [rows.start for rows in reads]
        assert len(starts) == len(set(starts))
        assert sum(rows.stop - rows.start for rows in reads) == len(disk.cells)
        held[patients] = most
    # samples end in slabs that are not full: more slabs than a window of full ones has
    assert max(held.values()) <= 2 * 2 * WINDOW // SLAB
    assert held[30] <= held[10] + 3  # and not with the cohort


@pytest.mark.usefixtures("small_windows")
def test_rows_across_slabs_and_outside_them(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(patients=3, cells=100)
    disk = _on_disk(store, tmp_path)
    reader = ReadAhead(disk, BLOCK, ahead=0)
    end = len(store.cells)
    wanted = [np.arange(0, 90)]  # some slabs held, the rest not
    reader.plan([wanted])
    reader.advance(0)
    assert reader.held > 0
    for start, stop in ((0, 5), (20, 30), (10, 89), (80, 120), (end - 3, end), (4, 4)):
        np.testing.assert_array_equal(
            reader.store.rna[start:stop].toarray(), store.rna[start:stop].toarray()
        )
        assert sparse.isspmatrix_csr(reader.store.rna[start:stop])
        assert reader.store.protein is not None
        assert store.protein is not None
        np.testing.assert_array_equal(reader.store.protein[start:stop], store.protein[start:stop])
    assert reader.store.rna.shape == store.rna.shape
    assert reader.store.rna.dtype == store.rna.dtype


@pytest.mark.usefixtures("small_windows")
def test_a_slab_that_cannot_be_read_is_an_error(make_store: MakeStore, tmp_path: Path) -> None:
    batches = _batches(_on_disk(make_store(patients=3), tmp_path), [[0, 1, 2]], shuffled=True)
    assert batches.reader is not None

    class Broken:
        shape, dtype = batches.reader.store.rna.shape, batches.reader.store.rna.dtype

        def __getitem__(self, rows: slice) -> Any:
            raise OSError("the disk is gone")

    batches.reader._arrays["rna"] = Broken()
    with pytest.raises(OSError, match="the disk is gone"):
        batches[0]


def test_without_proteins(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(patients=2)
    bare = replace(
        store, protein=None, proteins=(), protein_measured=np.zeros((4, 0), bool), receptor=None
    )
    disk = _on_disk(bare, tmp_path)
    _assert_equal(_batches(bare, [[0, 1]], True)[0], _batches(disk, [[0, 1]], True)[0])
