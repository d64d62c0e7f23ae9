"""Members of a stack of batches: gene lists of different lengths, and members that leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import torch

from recart.contracts import CellBatch
from recart.data.batches import Blocks, StackBatches, gather
from recart.data.features import BoundFeatures, FeatureChoice, bind
from recart.data.store import CohortStore

LENGTHS = (12, 9, 10)


@pytest.fixture
def store(make_store: Callable[..., CohortStore]) -> CohortStore:
    return make_store(patients=4)


@pytest.fixture
def bound(store: CohortStore) -> list[BoundFeatures]:
    cells = np.arange(len(store.cells))
    return [
        bind(FeatureChoice(n_genes=n, exclude=[], prior_cells=5).fit(store, cells, 0), store)
        for n in LENGTHS
    ]


def assert_equal(one: CellBatch, other: CellBatch) -> None:
    assert torch.equal(one.x.dense(), other.x.dense())
    for f in fields(one):
        if f.name not in ("x", "active"):
            assert torch.equal(getattr(one, f.name), getattr(other, f.name)), f.name
    assert one.active == other.active


def test_shorter_gene_lists_are_masked_at_their_end(
    store: CohortStore, bound: list[BoundFeatures]
) -> None:
    rows = [np.arange(m, m + 6) for m in range(3)]
    batch = gather(store, bound, rows, width=7)
    x = batch.x.dense()
    assert x.shape == (3, 7, 12)
    for m, (own, cells) in enumerate(zip(bound, rows, strict=True)):
        assert batch.x_mask_mg[m].tolist() == [True] * LENGTHS[m] + [False] * (12 - LENGTHS[m])
        expected = store.rna[cells][:, own.genes].toarray()  # type: ignore[index]
        np.testing.assert_array_equal(x[m, :6, : LENGTHS[m]], expected)
        assert not x[m, :, LENGTHS[m] :].any()
        assert not x[m, 6].any()


@pytest.mark.parametrize("kept", [[1, 2], [2], [0, 2]])
def test_members_that_are_kept_read_what_they_would_have_read(
    store: CohortStore, bound: list[BoundFeatures], kept: list[int]
) -> None:
    def batches(members: list[int]) -> StackBatches:
        slices = [store.sample_slice(s) for s in range(8)]
        blocks = [Blocks(slices[m : m + 6 - m], 8, 16, m) for m in members]
        return StackBatches(store, [bound[m] for m in members], blocks, shuffled=True)

    company, alone = batches([0, 1, 2]), batches(kept)
    company.set_epoch(3, [True] * 3)
    alone.set_epoch(3, [True] * len(kept))
    length = len(company)
    company.keep(kept)
    for step in range(len(alone)):
        assert_equal(company[step], alone[step])
    company.set_epoch(4, [True] * len(kept))
    alone.set_epoch(4, [True] * len(kept))
    assert_equal(company[0], alone[0])
    assert len(company) == length  # a loop that has counted its steps goes on counting
