"""Outputs of a member: what they sum to, what they follow from, and what they leave alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recart.contracts import MemberSettings
from recart.data.features import bind
from recart.data.store import CohortStore
from recart.inference.outputs.ensemble import EnsembleOutputs
from recart.inference.outputs.member_outputs import MemberOutputs
from recart.models.rna import NegativeBinomial, Normal, Poisson, ZeroInflated
from recart.problems import InputError

Make = Callable[..., Any]


def assert_same(one: pd.DataFrame, other: pd.DataFrame, tolerance: float = 1e-5) -> None:
    pd.testing.assert_frame_equal(one, other, rtol=tolerance, atol=1e-7)


def test_frequencies_sum_to_one_and_the_library_scales_them(make_outputs: Make) -> None:
    outputs = make_outputs()
    rna, protein = outputs.get_normalized_expression()
    np.testing.assert_allclose(rna.sum(axis=1), 1.0, rtol=1e-5)
    assert (protein.to_numpy() > 0).all()
    thousand, _ = outputs.get_normalized_expression(library_size=1000)
    assert_same(thousand, rna * 1000)
    counts, _ = outputs.get_normalized_expression(library_size="latent")
    library = outputs.get_latent_library_size()
    genes = [outputs.store.genes.index(name) for name in outputs.genes]
    observed = np.asarray(outputs.store.rna[:, genes].sum(axis=1))
    np.testing.assert_array_equal(library, observed)
    assert_same(counts, rna * library)


def test_chosen_cells_genes_and_proteins(make_outputs: Make) -> None:
    outputs = make_outputs()
    rna, protein = outputs.get_normalized_expression()
    cells = np.array([17, 3, 3])
    some_rna, some_protein = outputs.get_normalized_expression(
        cells, gene_list=list(rna.columns[[4, 1]]), protein_list=["PROT2"]
    )
    assert_same(some_rna, rna.iloc[cells][rna.columns[[4, 1]]])
    assert_same(some_protein, protein.iloc[cells][["PROT2"]])
    mask = np.zeros(len(rna), dtype=bool)
    mask[[3, 17]] = True
    assert_same(outputs.get_normalized_expression(mask)[0], rna.iloc[[3, 17]])
    empty, whole = outputs.get_normalized_expression(gene_list=[])
    assert empty.shape == (len(rna), 0)
    assert_same(whole, protein)


def test_chunks_change_nothing(make_outputs: Make) -> None:
    one, other = make_outputs(), make_outputs(chunk=7)
    for a, b in zip(
        one.get_normalized_expression(), other.get_normalized_expression(), strict=True
    ):
        assert_same(a, b)
    assert_same(
        one.get_protein_foreground_probability(), other.get_protein_foreground_probability()
    )
    np.testing.assert_allclose(
        one.get_latent_representation(), other.get_latent_representation(), rtol=1e-4, atol=1e-6
    )


def test_protein_parts_add_up(make_outputs: Make) -> None:
    outputs = make_outputs()
    foreground = outputs.get_protein_foreground_probability()
    assert ((foreground > 0) & (foreground < 1)).to_numpy().all()
    without = outputs.get_normalized_expression()[1]
    whole = outputs.get_normalized_expression(include_protein_background=True)[1]
    scaled = outputs.get_normalized_expression(scale_protein=True)[1]
    np.testing.assert_allclose(scaled.sum(axis=1), 1.0, rtol=1e-5)
    assert_same(scaled, without.div(without.sum(axis=1), axis=0))
    # the foreground rate is the background's times a factor of at least 1
    background_rate = (whole - without) / (1 - foreground)
    assert (without / foreground > background_rate * (1 - 1e-4)).to_numpy().all()
    assert (without / foreground > background_rate * 1.1).to_numpy().any()
    # drawn components are whole: either nothing or the full foreground rate
    drawn = outputs.get_normalized_expression(sample_protein_mixing=True, seed=3)[1]
    rate = without / foreground
    is_zero = drawn.to_numpy() == 0
    np.testing.assert_allclose(drawn.to_numpy()[~is_zero], rate.to_numpy()[~is_zero], rtol=1e-4)
    assert np.mean(~is_zero) == pytest.approx(foreground.to_numpy().mean(), abs=0.05)


def test_the_mean_of_many_draws_is_what_is_given_without_draws(make_outputs: Make) -> None:
    outputs = make_outputs()
    with torch.no_grad():  # almost no spread of z, so that only the background is averaged
        outputs.stack.encoder.log_variance.weight.zero_()
        outputs.stack.encoder.log_variance.bias.fill_(-40.0)
        outputs.stack.decoder.background_scale.bias.fill_(-0.5)
    cells = np.arange(5)
    still = outputs.get_normalized_expression(cells, include_protein_background=True)
    drawn = outputs.get_normalized_expression(
        np.tile(cells, 2000), include_protein_background=True, n_samples=1
    )
    for kind, tolerance in ((0, 0.01), (1, 0.08)):
        assert_same(drawn[kind].groupby(level=0).mean(), still[kind], tolerance)
    rna, protein = outputs.get_normalized_expression(cells, n_samples=7, return_mean=False)
    assert rna.shape == (5, len(outputs.genes), 7)
    assert protein.std(axis=-1).min() > 0
    averaged = outputs.get_normalized_expression(cells, n_samples=7)
    np.testing.assert_allclose(rna.mean(-1), averaged[0], rtol=1e-5)
    np.testing.assert_allclose(protein.mean(-1), averaged[1], rtol=1e-5)


def test_draws_follow_from_the_seed_and_leave_the_global_generator_alone(
    make_outputs: Make,
) -> None:
    outputs = make_outputs()
    before = torch.random.get_rng_state()

    def drawn(seed: int) -> list[np.ndarray]:
        counts = outputs.posterior_predictive_sample(n_samples=2, seed=seed)
        return [
            *counts.values(),
            *outputs.get_normalized_expression(n_samples=2, return_mean=False, seed=seed),
            outputs.get_latent_representation(give_mean=False, seed=seed),
        ]

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert torch.equal(torch.random.get_rng_state(), before)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()
        if a.ndim == 3:  # draws of a cell differ
            assert (a[..., 0] != a[..., 1]).any()


def test_latent_dimensions_that_a_member_does_not_use_are_not_drawn(make_outputs: Make) -> None:
    outputs = make_outputs()
    outputs.stack.set_settings(0, MemberSettings(latent=2))
    drawn = outputs.get_latent_representation(give_mean=False)
    assert not drawn[:, 2:].any()
    assert drawn[:, :2].std(axis=0).min() > 0.1


def test_transform_batch_is_the_batch_the_cells_are_given(make_outputs: Make) -> None:
    outputs = make_outputs()
    batch = outputs.store.samples["batch"].to_numpy()[outputs.store.cells["sample"]]
    own = outputs.get_normalized_expression()
    under = {b: outputs.get_normalized_expression(transform_batch=b) for b in outputs.batches}
    probability = {
        b: outputs.get_protein_foreground_probability(transform_batch=b) for b in outputs.batches
    }
    for b in outputs.batches:
        mine = batch == b
        for a, c in zip(own, under[b], strict=True):
            assert_same(a[mine], c[mine])
            assert np.abs(a[~mine] - c[~mine]).to_numpy().max() > 1e-4
    names = list(outputs.batches[:2])
    mean = outputs.get_normalized_expression(transform_batch=names, library_size=10)
    assert_same(mean[0], 10 * (under[names[0]][0] + under[names[1]][0]) / 2)
    assert_same(mean[1], (under[names[0]][1] + under[names[1]][1]) / 2)
    assert_same(
        outputs.get_protein_foreground_probability(transform_batch=names),
        (probability[names[0]] + probability[names[1]]) / 2,
    )


def test_an_unknown_batch_is_marginalised(make_outputs: Make) -> None:
    outputs = make_outputs()
    store = outputs.store
    renamed = replace(store, samples=store.samples.assign(batch="new"))
    features = outputs.bound.features
    unknown = MemberOutputs(outputs.stack, bind(features, renamed), renamed)
    got = unknown.get_normalized_expression()
    foreground = unknown.get_protein_foreground_probability()
    share = features.batch_share
    assert share.min() > 0.1
    for kind, values in enumerate(got):
        parts = [
            unknown.get_normalized_expression(transform_batch=b)[kind] for b in outputs.batches
        ]
        assert_same(values, sum(w * part for w, part in zip(share, parts, strict=True)))
    parts = [unknown.get_protein_foreground_probability(transform_batch=b) for b in outputs.batches]
    assert_same(foreground, sum(w * part for w, part in zip(share, parts, strict=True)))


def test_a_protein_that_was_not_measured_is_imputed_from_the_rest(make_outputs: Make) -> None:
    outputs = make_outputs()
    store, lost = outputs.store, "PROT3"
    column = store.proteins.index(lost)
    measured = store.protein_measured.copy()
    measured[:, column] = False
    poisoned = np.array(store.protein)
    poisoned[:, column] = 9999  # what is not measured is not read
    new = replace(store, protein_measured=measured, protein=poisoned)
    absent = replace(
        store,
        protein_measured=np.delete(store.protein_measured, column, axis=1),
        protein=np.delete(np.array(store.protein), column, axis=1),
        proteins=tuple(name for name in store.proteins if name != lost),
    )
    features = outputs.bound.features
    tables = [
        MemberOutputs(outputs.stack, bind(features, s), s).get_normalized_expression()[1]
        for s in (new, absent)
    ]
    assert lost in tables[0]
    assert np.isfinite(tables[0]).to_numpy().all()
    assert_same(tables[0], tables[1])


def test_genes_that_the_data_lack_are_left_out(make_outputs: Make) -> None:
    outputs = make_outputs()
    store = outputs.store
    lost = outputs.genes[2]
    keep = [g for g, name in enumerate(store.genes) if name != lost]
    new = replace(store, rna=store.rna[:, keep], genes=tuple(store.genes[g] for g in keep))
    rest = MemberOutputs(outputs.stack, bind(outputs.bound.features, new), new)
    rna = rest.get_normalized_expression()[0]
    assert lost not in rna
    assert rna.shape[1] == len(outputs.genes) - 1
    np.testing.assert_allclose(rna.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    "rna",
    [NegativeBinomial(), NegativeBinomial(per_batch=True), ZeroInflated(), Poisson()],
    ids=["nb", "nb-per-batch", "zinb", "poisson"],
)
def test_predictive_samples_have_the_mean_and_spread_of_the_likelihood(
    make_outputs: Make, rna: Any
) -> None:
    outputs = make_outputs(rna=rna)
    with torch.no_grad():
        outputs.stack.encoder.log_variance.weight.zero_()
        outputs.stack.encoder.log_variance.bias.fill_(-40.0)
    cells = np.arange(6)
    counts = outputs.posterior_predictive_sample(np.tile(cells, 2000), seed=5)["rna"]
    drawn = counts.reshape(2000, 6, -1)
    assert (drawn == np.round(drawn)).all()
    assert (drawn >= 0).all()
    mean = outputs.get_normalized_expression(cells, library_size="latent")[0].to_numpy()
    big = mean > 0.5
    sampled = drawn.mean(0)[big]
    dispersion = getattr(outputs.stack.rna, "dispersion", None)
    if isinstance(rna, ZeroInflated):  # extra zeros take their share of the mean
        assert (sampled < mean[big]).all()
        return
    # the spread of z that is left is 1e-2
    np.testing.assert_allclose(sampled, mean[big], rtol=0.25)
    assert sampled.mean() == pytest.approx(mean[big].mean(), rel=0.03)
    variance = drawn.var(0)[big]
    if dispersion is None:
        assert np.median(variance / sampled) == pytest.approx(1.0, abs=0.05)
    else:
        assert np.median(variance / sampled) > 1.2


def test_protein_samples_hold_the_efficiency_of_the_batch(make_outputs: Make) -> None:
    outputs = make_outputs()
    cells = np.arange(4)

    def mean() -> float:
        return outputs.posterior_predictive_sample(np.tile(cells, 1000))["protein"].mean()

    first, denoised = mean(), outputs.get_normalized_expression(cells)[1]
    with torch.no_grad():
        outputs.stack.log_efficiency += np.log(3.0)
    assert mean() == pytest.approx(3 * first, rel=0.1)
    # denoised proteins are free of it, as those of scvi-tools
    assert_same(outputs.get_normalized_expression(cells)[1], denoised)


def test_normalised_values_are_decoded_as_they_are(make_outputs: Make) -> None:
    rna = make_outputs(rna=Normal()).get_normalized_expression(np.arange(8))[0]
    assert (rna < 0).to_numpy().any()


def test_unknown_names_are_all_told(make_outputs: Make) -> None:
    outputs = make_outputs()
    with pytest.raises(InputError, match=r"(?s)E-OUT-004.*count=2.*CD99, CD3") as error:
        outputs.get_normalized_expression(gene_list=["CD99", "CD3"])
    assert "B0" not in str(error.value)
    with pytest.raises(InputError, match="batch names"):
        outputs.get_normalized_expression(transform_batch="B9")
    with pytest.raises(InputError, match="E-OUT-003"):
        outputs.get_normalized_expression(np.array([10**6]))
    with pytest.raises(InputError, match="E-OUT-003"):
        outputs.get_latent_library_size(np.ones(3, dtype=bool))


def test_an_ensemble_is_the_mean_over_members_on_shared_features(
    make_outputs: Make, make_store: Callable[..., CohortStore]
) -> None:
    store = make_store(patients=4, cells=30)
    members = [make_outputs(store, [0, 1, 2], seed=1), make_outputs(store, [3, 4, 5], seed=2)]
    ensemble = EnsembleOutputs(members)
    shared = list(ensemble.genes)
    assert len(shared) < len(members[0].genes)
    counts = [m.get_normalized_expression(library_size="latent") for m in members]
    rna, protein = ensemble.get_normalized_expression(library_size="latent")
    assert_same(rna, (counts[0][0][shared] + counts[1][0][shared]) / 2)
    assert_same(protein, (counts[0][1] + counts[1][1]) / 2)
    frequencies = ensemble.get_normalized_expression()[0]
    np.testing.assert_allclose(frequencies.sum(axis=1), 1.0, rtol=1e-5)
    parts = [m.get_protein_foreground_probability() for m in members]
    assert_same(ensemble.get_protein_foreground_probability(), (parts[0] + parts[1]) / 2)
    drawn = ensemble.posterior_predictive_sample(np.arange(3), n_samples=2)["rna"]
    own = members[1].posterior_predictive_sample(np.arange(3), n_samples=2, gene_list=shared)
    np.testing.assert_array_equal(drawn[..., 2:], own["rna"])
    # a single member is itself
    alone = EnsembleOutputs(members[:1]).get_normalized_expression()
    for a, b in zip(alone, members[0].get_normalized_expression(), strict=True):
        assert_same(a, b)
