"""What new data lack is filled in as the decoder expects it; what they have is left as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import poisson

from recart.data.bag_features import bag_features
from recart.data.bag_markers import BagMarkers
from recart.data.bags import Admission, Bags, Reading, make_bags
from recart.data.batches import gather
from recart.data.features import FeatureChoice, Features, bind
from recart.data.store import CohortStore
from recart.models.expected_logs import expected_log_count, unmasked_profile
from recart.models.filled_genes import with_missing_genes
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack
from recart.training.bag_latents import bag_latents
from recart.training.heads import BagLatents

MakeStore = Callable[..., CohortStore]
NAMED = ("GENE3", "GENE9", "ELSEWHERE")


@pytest.fixture
def store(make_store: MakeStore) -> CohortStore:
    return make_store(patients=3, cells=80)


@pytest.fixture
def features(store: CohortStore) -> Features:
    cells = np.arange(len(store.cells))
    return FeatureChoice(n_genes=40, exclude=(), prior_cells=20).fit(store, cells, 0)


@pytest.fixture
def stack(features: Features) -> TotalVIStack:
    sizes = Sizes(genes=40, proteins=7, receptor=6, batches=(len(features.spec.batches),))
    own = TotalVI(4, 16).stack(sizes, [2])
    own.set_batch_prior(0, torch.from_numpy(features.batch_share))
    return own.eval()


def _bags(store: CohortStore) -> Bags:
    labels = pd.Series(1.0, index=store.patients.index)
    reading = Reading(marker_genes=NAMED)
    return make_bags(store, labels, unit="patient", admission=Admission(), reading=reading)


def _seen(stack: TotalVIStack, features: Features, store: CohortStore) -> BagLatents:
    bags = _bags(store)
    bound = bind(features, store)
    return bag_latents(stack, bound, store, bags, [0, 2], bag_features(store, bags))


def _panel(store: CohortStore, genes: list[int], proteins: list[int]) -> CohortStore:
    rna = store.rna[:, genes]
    return replace(
        store,
        rna=rna,
        genes=tuple(store.genes[g] for g in genes),
        protein=np.asarray(store.protein)[:, proteins],
        proteins=tuple(store.proteins[a] for a in proteins),
        protein_measured=store.protein_measured[:, proteins],
        cells=store.cells.assign(n_counts=np.asarray(rna.sum(axis=1)).ravel()),
    )


def test_where_nothing_is_missing_nothing_is_filled_in(
    stack: TotalVIStack, features: Features, store: CohortStore
) -> None:
    seen = _seen(stack, features, store)
    assert isinstance(seen.markers, BagMarkers)
    assert np.isnan(seen.markers[0][:, -1]).all()  # the member does not decode it


def test_proteins_that_the_panel_lacks_are_expected_and_the_rest_is_measured(
    stack: TotalVIStack, features: Features, store: CohortStore
) -> None:
    part = _panel(store, list(range(40)), [5, 0, 2])
    seen = _seen(stack, features, part)
    assert list(seen.marker_names[:7]) == [f"protein:PROT{a}" for a in range(7)]
    markers = seen.markers[1]
    assert markers.shape == (len(seen.latents[1]), 10)
    assert np.isfinite(markers[:, :7]).all()
    np.testing.assert_allclose(markers[:, :7].sum(1), 0, atol=1e-4)  # about the mean of all
    cells = _bags(store).cells([2])
    logs = np.log1p(np.asarray(store.protein)[cells])
    np.testing.assert_allclose(
        markers[:, 0] - markers[:, 5], logs[:, 0] - logs[:, 5], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(markers[:, 7:9], _seen(stack, features, store).markers[1][:, 7:9])
    assert [len(own) for own in seen.markers[0:2]] == [len(z) for z in seen.latents]


def test_named_genes_that_the_store_lacks_are_expected(
    stack: TotalVIStack, features: Features, store: CohortStore
) -> None:
    kept = [g for g in range(40) if g != 3]
    part = _panel(store, kept, list(range(7)))
    seen = _seen(stack, features, part)
    markers = seen.markers[0]
    assert np.isfinite(markers[:, 7:9]).all()
    assert np.isnan(markers[:, 9]).all()
    cells = _bags(store).cells([0])
    bound = bind(features, part)
    batch = with_missing_genes(stack, gather(part, [bound], [cells], width=len(cells)))
    with torch.no_grad():
        profile = unmasked_profile(stack, batch)[0].double().numpy()
    assert profile.sum(1) == pytest.approx(1, rel=1e-4)
    depth = batch.x.row_sums(batch.x.value_n)[0].double().numpy()
    counts = np.asarray(part.cells["n_counts"])[cells]
    unit = 1e4 * bound.depth_share / counts
    n = np.arange(400)
    share = poisson.pmf(n, (depth * profile[:, 3])[:, None])
    expected = (share * np.log1p(n * unit[:, None])).sum(1)
    np.testing.assert_allclose(markers[:, 7], expected, rtol=2e-3)


def test_the_expected_logarithm_also_of_many_counts(
    stack: TotalVIStack, features: Features, store: CohortStore
) -> None:
    cells = np.arange(20)
    deep = replace(store, rna=store.rna * 200)
    batch = gather(deep, [bind(features, deep)], [cells], width=20)
    unit = torch.full((20, 1), 0.01)
    with torch.no_grad():
        found = expected_log_count(stack, batch, torch.arange(40), unit).double().numpy()
        profile = unmasked_profile(stack, batch)[0].double().numpy()
    rate = profile * np.asarray(deep.rna[cells].sum(axis=1))
    n = np.arange(3000)
    share = poisson.pmf(n, rate[..., None])
    expected = (share * np.log1p(0.01 * n)).sum(-1)
    assert rate.max() > 100
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_the_encoder_gets_expected_counts_where_genes_are_missing(
    stack: TotalVIStack, features: Features, store: CohortStore
) -> None:
    cells = np.arange(50)
    whole = gather(store, [bind(features, store)], [cells], width=50)
    assert with_missing_genes(stack, whole) is whole
    part = _panel(store, [g for g in range(40) if g not in (3, 7)], list(range(7)))
    batch = gather(part, [bind(features, part)], [cells], width=50)
    filled = with_missing_genes(stack, batch)
    assert filled.x_mask_mg.all()
    x, given = filled.x.dense()[0], batch.x.dense()[0]
    kept = batch.x_mask_mg[0]
    assert torch.equal(x[:, kept], given[:, kept])
    with torch.no_grad():
        profile = unmasked_profile(stack, batch)[0]
    depth = given.sum(1, keepdim=True) / profile[:, kept].sum(1, keepdim=True)
    torch.testing.assert_close(x[:, ~kept], profile[:, ~kept] * depth)
    nothing = replace(store, rna=store.rna[:, :0], genes=())
    none = gather(nothing, [bind(features, nothing)], [cells], width=50)
    assert with_missing_genes(stack, none) is none


def test_a_member_keeps_what_fits_and_decodes_the_rest_again(
    stack: TotalVIStack, features: Features, store: CohortStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = _panel(store, list(range(40)), [5, 0, 2])
    whole = _seen(stack, features, part).markers
    monkeypatch.setattr("recart.training.imputed_markers._KEPT", whole[0].nbytes)
    few = _seen(stack, features, part).markers
    assert [np.array_equal(few[n], whole[n], equal_nan=True) for n in (0, 1, 1)] == [True] * 3
    assert few[0] is few[0]
    assert few[1] is not few[1]
