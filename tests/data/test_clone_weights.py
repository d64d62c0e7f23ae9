"""Each clone of a sample counts once: the weights against their plain formula."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from recart.data.batches import gather
from recart.data.clone_weights import clone_weights
from recart.data.features import FeatureChoice, bind
from recart.data.store import CohortStore

MakeStore = Callable[..., CohortStore]


def plainly(clone: np.ndarray, sample: np.ndarray) -> list[float]:
    cells = Counter(s for c, s in zip(clone, sample, strict=True) if c >= 0)
    size = Counter((c, s) for c, s in zip(clone, sample, strict=True) if c >= 0)
    clones = Counter(s for _, s in size)
    return [
        cells[s] / clones[s] / size[c, s] if c >= 0 else 0.0
        for c, s in zip(clone, sample, strict=True)
    ]


def test_by_hand() -> None:
    clone = np.array([0, 0, 0, 1, -1, 0, 2, -1], dtype=np.int32)
    sample = np.array([0, 0, 0, 0, 0, 1, 1, 2], dtype=np.int32)
    expected = [2 / 3, 2 / 3, 2 / 3, 2, 0, 1, 1, 0]
    np.testing.assert_allclose(clone_weights(clone, sample), expected, rtol=1e-6)


def test_equals_the_plain_formula(make_store: MakeStore) -> None:
    store = make_store(patients=5)
    clone, sample = (store.cells[name].to_numpy() for name in ("clone", "sample"))
    weight = store.clone_weight
    np.testing.assert_allclose(weight, plainly(clone, sample), rtol=1e-6)
    has = clone >= 0
    # a sample has the weight of its cells, each of its clones the same share of it
    totals = np.bincount(sample, weights=weight)
    np.testing.assert_allclose(totals, np.bincount(sample[has]), rtol=1e-5)
    of_clone = np.bincount(clone[has & (sample == 0)], weights=weight[has & (sample == 0)])
    np.testing.assert_allclose(of_clone[of_clone > 0], of_clone.max(), rtol=1e-5)


def test_clones_that_could_not_be_read_are_no_clones(make_store: MakeStore) -> None:
    store = make_store(patients=3)
    assert store.clones is not None
    known = np.arange(len(store.clones)) % 3 > 0
    store = replace(store, clones=store.clones.assign(known=known))
    clone = store.cells["clone"].to_numpy()
    readable = np.where((clone >= 0) & known[clone], clone, -1)
    expected = plainly(readable, store.cells["sample"].to_numpy())
    np.testing.assert_allclose(store.clone_weight, expected, rtol=1e-6)


def test_other_samples_change_nothing(make_store: MakeStore) -> None:
    store = make_store(patients=4)
    own = store.sample_slice(3)
    cells = store.cells.copy()
    others = np.ones(len(cells), dtype=bool)
    others[own] = False
    cells.loc[others, "clone"] = 0
    changed = replace(store, cells=cells)
    assert not np.array_equal(changed.clone_weight, store.clone_weight)
    np.testing.assert_array_equal(changed.clone_weight[own], store.clone_weight[own])


@pytest.mark.parametrize("nothing", ["no cells", "no clones"])
def test_without_clones_there_is_no_weight(nothing: str) -> None:
    n = 0 if nothing == "no cells" else 3
    none = np.full(n, -1, dtype=np.int32)
    assert not clone_weights(none, np.zeros(n, dtype=np.int32)).any()


def test_a_minibatch_brings_the_weights_of_its_cells(make_store: MakeStore) -> None:
    store = make_store(patients=3)
    choice = FeatureChoice(n_genes=100, exclude=[], prior_cells=5)
    bound = bind(choice.fit(store, np.arange(30), 0), store)
    rows = [np.arange(4, 12), np.array([50, 2])]
    batch = gather(store, [bound, bound], rows, width=9)
    assert batch.r_weight_mb.shape == (2, 9)
    for own, cells in zip(batch.r_weight_mb.numpy(), rows, strict=True):
        np.testing.assert_array_equal(own[: len(cells)], store.clone_weight[cells])
        assert not own[len(cells) :].any()
