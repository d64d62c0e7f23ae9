"""Gathering on the device gives the minibatches that gathering on the host gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from recart.data.batches import Blocks, StackBatches, gather
from recart.data.device_store import DeviceStore, DeviceView, bytes_on_device
from recart.data.features import BoundFeatures, FeatureChoice, bind
from recart.data.store import CohortStore

MakeStore = Callable[..., CohortStore]


def _bound(store: CohortStore, patients: list[int], genes: int) -> BoundFeatures:
    cells = np.flatnonzero(store.cells["patient"].isin(patients))
    return bind(FeatureChoice(n_genes=genes, exclude=[], prior_cells=5).fit(store, cells, 0), store)


@pytest.mark.parametrize("case", ["all", "no protein", "no receptor", "panel"])
def test_equals_the_host(case: str, make_store: MakeStore) -> None:
    store = make_store(patients=4)
    bound = [_bound(store, [0], 12), _bound(store, [1, 2], 40), _bound(store, [3], 9)]
    if case == "no protein":
        store = replace(store, protein=None)
    if case == "no receptor":
        store = replace(store, receptor=None, clones=None)
    if case == "panel":
        assert store.protein is not None
        measured = store.protein_measured.copy()
        measured[1, 3] = measured[4] = False
        store = replace(
            store,
            rna=store.rna[:, 5:][:, ::-1].tocsr(),
            genes=store.genes[5:][::-1],
            protein=store.protein[:, ::-1],
            proteins=store.proteins[::-1],
            protein_measured=measured[:, ::-1],
            samples=store.samples.assign(has_receptor=np.arange(len(store.samples)) % 2 == 0),
        )
        bound = [bind(own.features, store) for own in bound]
    rows = [np.arange(3, 11), np.zeros(0, dtype=np.int64), np.array([70, 2, 35])]
    host = gather(store, bound, rows, width=9)
    device = DeviceView(DeviceStore(store, "cpu"), bound).gather(rows, 9)
    assert torch.equal(device.x.dense(), host.x.dense())
    assert device.active == host.active
    for f in fields(host):
        if f.name not in ("x", "active"):
            assert torch.equal(getattr(device, f.name), getattr(host, f.name)), f.name
    # rows may hold zeros; sums and products read over them
    torch.testing.assert_close(device.x.row_sums(device.x.value_n), host.x.row_sums(host.x.value_n))


def test_large_counts_keep_their_value(make_store: MakeStore) -> None:
    store = make_store(patients=2)
    rna = store.rna.astype(np.int64)
    rna.data[5], rna.data[6] = 40_000, 3_000_000
    store = replace(store, rna=rna)
    bound = [_bound(store, [0], 40)]
    rows = [np.arange(9)]
    device = DeviceView(DeviceStore(store, "cpu"), bound).gather(rows, 9)
    assert torch.equal(device.x.dense(), gather(store, bound, rows, width=9).x.dense())
    assert bytes_on_device(store) > rna.data.nbytes


def test_a_stack_reads_the_same_from_the_device(make_store: MakeStore) -> None:
    store = make_store(patients=4)
    groups = [[0, 1], [2], [3, 1]]
    bound = [_bound(store, group, 12) for group in groups]
    slices = [
        [store.sample_slice(int(s)) for s in np.flatnonzero(store.samples["patient"].isin(group))]
        for group in groups
    ]
    blocks = [Blocks(own, 8, 16, seed) for seed, own in enumerate(slices)]
    host = StackBatches(store, bound, blocks, shuffled=True)
    device = StackBatches(store, bound, blocks, shuffled=True)
    device.hold(DeviceStore(store, "cpu"))
    for kept in ([0, 1, 2], [0, 2]):
        for own in (host, device):
            own.set_epoch(3, [True] * len(own.blocks))
            if len(kept) < 3:
                own.keep(kept)
        for step in range(host.steps_in_epoch):
            one, other = host[step], device[step]
            assert one.active == other.active
            assert torch.equal(one.x.dense(), other.x.dense())
            assert torch.equal(one.y_mba, other.y_mba)
            assert torch.equal(one.batch_mbe, other.batch_mbe)
            assert torch.equal(one.weight_mb, other.weight_mb)
