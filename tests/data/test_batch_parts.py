"""Minibatches shared by several processes: together they are the whole minibatch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from recart.data.batches import Blocks, StackBatches
from recart.data.features import FeatureChoice, bind
from recart.data.store import CohortStore


def _batches(store: CohortStore, part: tuple[int, int]) -> StackBatches:
    choice = FeatureChoice(n_genes=12, exclude=[], prior_cells=5)
    bound, blocks = [], []
    for seed, group in enumerate(([0], [1, 2, 3])):
        cells = np.flatnonzero(store.cells["patient"].isin(group))
        bound.append(bind(choice.fit(store, cells, 0), store))
        rows = np.flatnonzero(store.samples["patient"].isin(group))
        blocks.append(Blocks([store.sample_slice(int(row)) for row in rows], 8, 16, seed))
    data = StackBatches(store, bound, blocks, True, part)
    data.set_epoch(2, [True, True])
    return data


@pytest.mark.parametrize("processes", [2, 3, 16])
def test_parts_make_the_whole(processes: int, make_store: Callable[..., CohortStore]) -> None:
    store = make_store(patients=4)
    whole = _batches(store, (0, 1))
    parts = [_batches(store, (i, processes)) for i in range(processes)]
    empty = 0
    for step in range(len(whole)):
        expected = whole[step]
        found = [own[step] for own in parts]
        for name in ("y_mba", "y_mask_mba", "r_mbt", "r_mask_mb", "batch_mbe", "weight_mb"):
            together = torch.cat([getattr(own, name) for own in found], dim=1)
            assert torch.equal(together, getattr(expected, name)), name
        x = torch.cat([own.x.dense() for own in found], dim=1)
        assert torch.equal(x, expected.x.dense())
        # a member takes a step in all processes or in none, whether it has cells there or not
        assert all(own.active == expected.active for own in found)
        cells = expected.weight_mb.sum(-1).tolist()
        assert all(own.cells_of(step) == cells for own in parts)
        empty += sum(float(own.weight_mb.sum()) == 0 for own in found)
    assert empty > 0
    assert {own.width for own in parts} == {whole.width}


def test_members_that_leave_are_left_out_of_the_counts(
    make_store: Callable[..., CohortStore],
) -> None:
    data = _batches(make_store(patients=4), (0, 2))
    expected = data.cells_of(0)
    data.keep([1])
    assert data.cells_of(0) == expected[1:]


def test_more_processes_than_cells_are_refused(make_store: Callable[..., CohortStore]) -> None:
    with pytest.raises(ValueError, match="17 processes can't share minibatches of 16 cells"):
        _batches(make_store(patients=4), (0, 17))
