"""Minibatches: every cell once an epoch, the same for a member in any company."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from recart.contracts import CellBatch
from recart.data.batches import Blocks, StackBatches, gather
from recart.data.features import BoundFeatures, FeatureChoice, bind
from recart.data.store import CohortStore

MakeStore = Callable[..., CohortStore]

SLICES = [slice(0, 23), slice(23, 24), slice(40, 72), slice(90, 98)]


def _bound(store: CohortStore, patients: list[int]) -> BoundFeatures:
    choice = FeatureChoice(n_genes=12, exclude=[], prior_cells=5)
    cells = np.flatnonzero(store.cells["patient"].isin(patients))
    return bind(choice.fit(store, cells, 0), store)


@pytest.mark.parametrize("epoch", [None, 0, 1, 7])
@pytest.mark.parametrize(("block", "batch"), [(8, 24), (8, 8), (5, 32), (64, 16), (1, 3)])
def test_every_cell_exactly_once_an_epoch(block: int, batch: int, epoch: int | None) -> None:
    blocks = Blocks(SLICES, block, batch, seed=3)
    steps = blocks.epoch(epoch)
    assert len(steps) == len(blocks)
    cells = np.concatenate(steps)
    expected = np.concatenate([np.arange(s.start, s.stop) for s in SLICES])
    np.testing.assert_array_equal(np.sort(cells), expected)
    assert all(0 < len(step) <= blocks.width for step in steps)
    if epoch is None:
        np.testing.assert_array_equal(cells, expected)


def test_blocks_lie_within_one_sample() -> None:
    for start, stop in Blocks(SLICES, 8, 24, seed=3).blocks:
        assert 0 < stop - start <= 8
        assert any(s.start <= start and stop <= s.stop for s in SLICES)


def test_order_is_a_function_of_seed_and_epoch() -> None:
    one = Blocks(SLICES, 4, 8, seed=3)
    third = np.concatenate(one.epoch(2))
    one.epoch(0)  # asking for another epoch in between changes nothing
    np.testing.assert_array_equal(np.concatenate(one.epoch(2)), third)
    np.testing.assert_array_equal(np.concatenate(Blocks(SLICES, 4, 8, seed=3).epoch(2)), third)
    assert not np.array_equal(np.concatenate(one.epoch(3)), third)
    assert not np.array_equal(np.concatenate(Blocks(SLICES, 4, 8, seed=4).epoch(2)), third)


def _slices(store: CohortStore, patients: list[int]) -> list[slice]:
    rows = np.flatnonzero(store.samples["patient"].isin(patients))
    return [store.sample_slice(int(row)) for row in rows]


def _equal(one: CellBatch, i: int, other: CellBatch, j: int) -> None:
    assert torch.equal(one.x.dense()[i], other.x.dense()[j])
    assert one.active[i] == other.active[j]
    for f in fields(CellBatch):
        if f.name in ("x", "active"):
            continue
        a, b = getattr(one, f.name)[i], getattr(other, f.name)[j]
        if f.name == "batch_mbe":  # padded to the company's longest list of batches
            width = min(a.shape[-1], b.shape[-1])
            assert not a[..., width:].any()
            assert not b[..., width:].any()
            a, b = a[..., :width], b[..., :width]
        assert torch.equal(a, b), f.name


def test_a_member_reads_the_same_in_any_company(make_store: MakeStore) -> None:
    store = make_store(patients=5)
    groups = [[0], [1, 2, 3], [4]]  # of different sizes, the first with two batches only
    bound = [_bound(store, group) for group in groups]
    blocks = [Blocks(_slices(store, g), 8, 16, seed) for seed, g in enumerate(groups)]
    company = StackBatches(store, bound, blocks, shuffled=True)
    for member in range(3):
        alone = StackBatches(store, [bound[member]], [blocks[member]], shuffled=True)
        for epoch in range(3):
            company.set_epoch(epoch, [True] * 3)
            alone.set_epoch(epoch, [True])
            for step in range(len(alone)):
                _equal(company[step], member, alone[step], 0)
            for step in range(len(alone), len(company)):  # finished: takes no step
                assert not company[step].active[member]
                assert not company[step].weight_mb[member].any()
    # a member that has stopped leaves the others as they are
    company.set_epoch(1, [True, False, True])
    alone = StackBatches(store, [bound[2]], [blocks[2]], shuffled=True)
    alone.set_epoch(1, [True])
    assert company.steps_in_epoch == max(len(blocks[0]), len(blocks[2])) < len(company)
    for step in range(len(alone)):
        _equal(company[step], 2, alone[step], 0)
        assert not company[step].active[1]
    company.set_epoch(0, [False] * 3)
    assert company.steps_in_epoch == 0


def test_the_numbers_are_those_of_the_store(make_store: MakeStore) -> None:
    store = make_store(patients=3)
    measured = store.protein_measured.copy()
    measured[2, 3] = False
    assert store.clones is not None
    assert store.protein is not None
    samples = store.samples.copy()
    samples.loc[samples.index[4], "has_receptor"] = False
    known = np.arange(len(store.clones)) % 3 > 0
    store = replace(
        store, protein_measured=measured, samples=samples, clones=store.clones.assign(known=known)
    )
    own = _bound(store, [0, 1])
    rows = np.array([5, 6, 70, 71, len(store.cells) - 1])
    batch = gather(store, [own], [rows], width=8)
    assert batch.x.dense().shape == (1, 8, 12)
    np.testing.assert_array_equal(batch.x.dense()[0, :5], store.rna.toarray()[rows][:, own.genes])
    sample = store.cells["sample"].to_numpy()[rows]
    np.testing.assert_array_equal(batch.y_mask_mba[0, :5], measured[sample])
    np.testing.assert_array_equal(batch.y_mba[0, :5], store.protein[rows])
    clone = store.cells["clone"].to_numpy()[rows]
    has = (clone >= 0) & known[clone]
    np.testing.assert_array_equal(batch.r_mask_mb[0, :5], has)
    assert store.receptor is not None
    np.testing.assert_array_equal(batch.r_mbt[0, :5][has], store.receptor[clone[has]])
    assert not batch.r_mbt[0, :5][~has].any()
    np.testing.assert_array_equal(batch.r_measured_mb[0, :5], samples["has_receptor"].iloc[sample])
    np.testing.assert_array_equal(batch.batch_mbe[0, :5].argmax(-1), own.batch_of_sample[sample])
    # padding
    assert batch.weight_mb[0].tolist() == [1.0] * 5 + [0.0] * 3
    assert not batch.x.dense()[0, 5:].any()
    for name in (
        "y_mba",
        "y_mask_mba",
        "r_mbt",
        "r_mask_mb",
        "r_measured_mb",
        "batch_mbe",
    ):
        assert not getattr(batch, name)[0, 5:].any(), name


def test_a_store_that_lacks_features(make_store: MakeStore) -> None:
    store = make_store(patients=3)
    own = _bound(store, [0])
    assert store.protein is not None
    other = replace(
        store,
        rna=store.rna[:, 5:][:, ::-1],
        genes=store.genes[5:][::-1],
        protein=store.protein[:, :2],
        proteins=("PROT4", "OTHER"),
        protein_measured=store.protein_measured[:, :2],
        receptor=None,
        clones=None,
        cells=store.cells.assign(clone=-1),
        samples=store.samples.assign(has_receptor=False, batch="unheard of"),
    )
    batch = gather(other, [bind(own.features, other)], [np.arange(4)], width=4)
    lacks = np.isin(own.features.spec.genes, store.genes[:5])
    np.testing.assert_array_equal(~batch.x_mask_mg[0].numpy(), lacks)
    assert not batch.x.dense()[0][:, lacks].any()
    np.testing.assert_array_equal(
        batch.x.dense()[0].numpy(), store.rna.toarray()[:4][:, own.genes] * ~lacks
    )
    assert batch.y_mask_mba[0, 0].tolist() == [False] * 4 + [True] + [False] * 2
    np.testing.assert_array_equal(batch.y_mba[0, :, 4], store.protein[:4, 0])
    assert not batch.r_mask_mb.any()
    assert not batch.r_measured_mb.any()
    assert batch.r_mbt.shape[-1] == 6
    assert not batch.batch_mbe.any()


def test_proteins_that_training_never_saw_are_masked(make_store: MakeStore) -> None:
    store = make_store(patients=3)
    assert store.protein is not None
    protein = store.protein.copy()
    protein[store.cells["patient"] == 0, 2] = 0
    store = replace(store, protein=protein)
    batch = gather(store, [_bound(store, [0])], [np.arange(len(protein))[-4:]], width=4)
    assert protein[-4:, 2].any()
    assert not batch.y_mask_mba[..., 2].any()
    assert not batch.y_mba[..., 2].any()


def test_receptors_were_sequenced_but_none_was_found(make_store: MakeStore) -> None:
    store = make_store(patients=2)
    own = _bound(store, [0])
    assert store.clones is not None
    none = replace(
        store,
        receptor=np.zeros((0, 6), np.float32),
        clones=store.clones.iloc[:0],
        cells=store.cells.assign(clone=-1),
    )
    batch = gather(none, [own], [np.arange(3)], width=3)
    assert not batch.r_mask_mb.any()
    assert batch.r_measured_mb.all()
