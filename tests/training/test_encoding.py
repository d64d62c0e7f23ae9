"""A patient's latents do not depend on who else is there, nor on the order of names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from recart.data.bags import Bags
from recart.data.features import BoundFeatures, FeatureChoice, Features, bind
from recart.data.store import CohortStore
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.rna import NegativeBinomial
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack
from recart.training.bag_latents import bag_latents, bag_latents_by_batch
from recart.training.encoding import encode

MakeStore = Callable[..., CohortStore]


@pytest.fixture
def store(make_store: MakeStore) -> CohortStore:
    return make_store(patients=5, cells=60)


@pytest.fixture
def features(store: CohortStore) -> Features:
    """Fitted to patients 0 and 1: batches B0, B1 and B2."""
    cells = np.flatnonzero(store.cells["patient"] <= 1)
    return FeatureChoice(n_genes=20, exclude=[], prior_cells=5).fit(store, cells, 0)


@pytest.fixture
def stack(features: Features) -> TotalVIStack:
    sizes = Sizes(genes=20, proteins=7, receptor=6, batches=(3,))
    own = TotalVI(4, 16, JointEncoder(2), 1, 0.2, Masking(0.1), NegativeBinomial()).stack(
        sizes, [5]
    )
    own.set_batch_prior(0, torch.from_numpy(features.batch_share))
    with torch.no_grad():
        own.encoder.missing.normal_(generator=torch.Generator().manual_seed(0))
    return own


@pytest.fixture
def bound(features: Features, store: CohortStore) -> BoundFeatures:
    return bind(features, store)


def _slices(store: CohortStore, patient: int) -> list[slice]:
    rows = np.flatnonzero(store.samples["patient"] == patient)
    return [store.sample_slice(int(row)) for row in rows]


def _only(store: CohortStore, patient: int) -> CohortStore:
    """A store that holds this patient alone."""
    cells = np.flatnonzero(store.cells["patient"] == patient)
    rows = np.flatnonzero(store.samples["patient"] == patient)
    first = int(cells[0])
    samples = store.samples.iloc[rows]
    assert store.protein is not None
    return replace(
        store,
        rna=store.rna[cells],
        protein=store.protein[cells],
        protein_measured=store.protein_measured[rows],
        cells=store.cells.iloc[cells]
        .assign(patient=0, sample=store.cells["sample"].iloc[cells] - int(rows[0]))
        .reset_index(drop=True),
        samples=samples.assign(
            patient=0, start=samples["start"] - first, stop=samples["stop"] - first
        ),
        patients=store.patients.iloc[[patient]],
    )


@pytest.mark.parametrize("batch", ["B1", "unheard of"])
def test_alone_equals_in_company_to_the_bit(
    stack: TotalVIStack, features: Features, store: CohortStore, batch: str
) -> None:
    samples = store.samples.copy()
    samples.loc[samples["patient"] == 3, "batch"] = batch
    store = replace(store, samples=samples)
    everyone = [s for p in range(5) for s in _slices(store, p)]
    together = encode(stack, bind(features, store), store, everyone)
    alone_store = _only(store, 3)
    alone = encode(stack, bind(features, alone_store), alone_store, _slices(alone_store, 0))
    own = np.flatnonzero(store.cells["patient"] == 3)
    assert together.shape == (len(store.cells), 4)
    np.testing.assert_array_equal(together[own], alone)
    backwards = encode(stack, bind(features, store), store, everyone[::-1])
    np.testing.assert_array_equal(backwards[: len(_last(store))], together[_last(store)])


def _last(store: CohortStore) -> np.ndarray:
    own = store.sample_slice(len(store.samples) - 1)
    return np.arange(own.start, own.stop)


def test_chunks_change_rounding_only(
    stack: TotalVIStack,
    bound: BoundFeatures,
    store: CohortStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = encode(stack, bound, store, _slices(store, 2))
    monkeypatch.setattr("recart.training.encoding._CHUNK", 7)
    np.testing.assert_allclose(encode(stack, bound, store, _slices(store, 2)), whole, atol=1e-5)


def test_order_of_names_does_not_matter(
    stack: TotalVIStack, features: Features, store: CohortStore
) -> None:
    rng = np.random.default_rng(0)
    genes, proteins = rng.permutation(len(store.genes)), rng.permutation(7)
    assert store.protein is not None
    other = replace(
        store,
        rna=store.rna[:, genes],
        genes=tuple(store.genes[i] for i in genes),
        protein=store.protein[:, proteins],
        proteins=tuple(store.proteins[i] for i in proteins),
        protein_measured=store.protein_measured[:, proteins],
    )
    ranges = _slices(store, 4)
    np.testing.assert_array_equal(
        encode(stack, bind(features, other), other, ranges),
        encode(stack, bind(features, store), store, ranges),
    )


def test_what_is_not_asked_for_has_no_influence(
    stack: TotalVIStack, features: Features, store: CohortStore
) -> None:
    """Genes that are not among the features, labels and unmeasured proteins."""
    measured = store.protein_measured.copy()
    measured[:, 1] = False
    ranges = _slices(store, 4)
    own = replace(store, protein_measured=measured)
    before = encode(stack, bind(features, own), own, ranges)
    rna = store.rna.toarray()
    rna[:, ~np.isin(store.genes, features.spec.genes)] = 99
    assert store.protein is not None
    protein = store.protein.copy()
    protein[:, 1] = 999
    changed = replace(
        own,
        rna=type(store.rna)(rna),
        protein=protein,
        patients=store.patients.assign(response="R"),
    )
    np.testing.assert_array_equal(encode(stack, bind(features, changed), changed, ranges), before)


def test_no_cells(stack: TotalVIStack, bound: BoundFeatures, store: CohortStore) -> None:
    assert encode(stack, bound, store, []).shape == (0, 4)


def test_evaluation_leaves_no_trace(
    stack: TotalVIStack, bound: BoundFeatures, store: CohortStore
) -> None:
    before = {name: tensor.clone() for name, tensor in stack.state_dict().items()}
    state = torch.get_rng_state()
    one, two = (encode(stack, bound, store, _slices(store, 0)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert all(torch.equal(before[name], tensor) for name, tensor in stack.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_bags_are_aligned(
    stack: TotalVIStack,
    bound: BoundFeatures,
    store: CohortStore,
    make_all_bags: Callable[[CohortStore], Bags],
) -> None:
    bags = make_all_bags(store)
    extras = pd.DataFrame({"share": np.arange(5.0), "gini": np.nan}, index=bags.table.index)
    seen = bag_latents(stack, bound, store, bags, [3, 1], extras)
    assert seen.extra_names == ["share", "gini"]
    assert seen.extras[:, 0].tolist() == [3.0, 1.0]
    assert seen.patients.tolist() == [3, 1]
    for latents, patient in zip(seen.latents, (3, 1), strict=True):
        np.testing.assert_array_equal(latents, encode(stack, bound, store, _slices(store, patient)))


def test_threads_give_the_same_bytes(
    store: CohortStore, stack: TotalVIStack, bound: BoundFeatures
) -> None:
    slices = [part for patient in range(5) for part in _slices(store, patient)]
    one = encode(stack, bound, store, slices)
    np.testing.assert_array_equal(encode(stack, bound, store, slices, workers=3), one)


def test_every_batch_at_once_is_each_in_turn(
    store: CohortStore,
    stack: TotalVIStack,
    bound: BoundFeatures,
    make_all_bags: Callable[[CohortStore], Bags],
) -> None:
    known = bound.batch_of_sample.copy()
    known[::3] = -1
    partly = replace(bound, batch_of_sample=known)
    bags = make_all_bags(store)
    extras = pd.DataFrame(index=bags.table.index)
    mean, given = bag_latents_by_batch(stack, partly, store, bags, range(5), extras)
    whole = bag_latents(stack, partly, store, bags, range(5), extras)
    assert len(given) == 3
    for n in range(5):
        np.testing.assert_array_equal(mean.latents[n], whole.latents[n])
    for batch, seen in enumerate(given):
        as_if = replace(bound, batch_of_sample=np.where(known < 0, batch, known))
        in_turn = bag_latents(stack, as_if, store, bags, range(5), extras)
        for n in range(5):
            np.testing.assert_array_equal(seen.latents[n], in_turn.latents[n])
    assert any(
        not np.array_equal(a, b) for a, b in zip(given[0].latents, given[1].latents, strict=True)
    )
    assert bag_latents_by_batch(stack, bound, store, bags, [0], extras)[1] == []
