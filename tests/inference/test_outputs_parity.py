"""With the same weights, outputs equal those of scvi-tools' TOTALVI; statistics equal its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

from recart.inference.outputs.change import change_statistics, posterior_expected_fdr
from recart.inference.outputs.differential_expression import differential_expression
from recart.inference.outputs.member_outputs import MemberOutputs
from recart.inference.outputs.predictive_check import posterior_predictive_check
from recart.models.rna import NegativeBinomial, ZeroInflated

pytestmark = pytest.mark.slow  # imports scvi-tools: about 10 s

Make = Callable[..., Any]


@dataclass(frozen=True)
class Pair:
    """The same weights in both, on the same cells."""

    ours: MemberOutputs
    theirs: Any
    adata: ad.AnnData


@pytest.fixture(params=["nb", "zinb"])
def pair(
    request: pytest.FixtureRequest,
    make_store: Make,
    make_outputs: Make,
    scvi_weights: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> Pair:
    from scvi.model import TOTALVI

    recipe = {"nb": NegativeBinomial(), "zinb": ZeroInflated()}[request.param]
    store = replace(make_store(patients=4, cells=30), receptor=None, clones=None)
    ours = make_outputs(store, rna=recipe)
    adata = ad.AnnData(
        np.asarray(store.rna[:, [store.genes.index(g) for g in ours.genes]].todense(), dtype="f4"),
        obs=pd.DataFrame(
            {"batch": store.samples["batch"].to_numpy()[store.cells["sample"]]},
            index=[str(i) for i in range(len(store.cells))],
        ),
        var=pd.DataFrame(index=list(ours.genes)),
    )
    adata.obs["batch"] = pd.Categorical(adata.obs["batch"], categories=list(ours.batches))
    adata.obs["kind"] = np.where(adata.X[:, 0] > 1, "one", "two")
    adata.obsm["protein"] = pd.DataFrame(
        np.asarray(store.protein, dtype="f4"), index=adata.obs_names, columns=list(store.proteins)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        TOTALVI.setup_anndata(adata, protein_expression_obsm_key="protein", batch_key="batch")
        with torch.random.fork_rng():
            theirs = TOTALVI(
                adata,
                n_latent=4,
                gene_likelihood=request.param,
                empirical_protein_background_prior=False,
                n_hidden=16,
                n_layers_encoder=2,
                n_layers_decoder=1,
                use_batch_norm="none",
                use_layer_norm="both",
            )
    theirs.is_trained_ = True
    theirs.module.eval()
    with torch.no_grad():
        theirs.module.log_per_batch_efficiency.normal_(std=0.3)
        # the spread of the background is drawn by theirs, and is nothing here
        spread = theirs.module.decoder.py_back_mean_log_beta.fc_layers[0][0]
        spread.weight.zero_()
        spread.bias.fill_(-40.0)
    scvi_weights.copy_weights(ours.stack, theirs.module)
    with torch.no_grad():  # theirs does not know that a modality is missing
        ours.stack.encoder.missing.zero_()
    normal = torch.distributions.Normal
    monkeypatch.setattr(normal, "rsample", lambda self, _shape=(): self.loc)
    monkeypatch.setattr(normal, "sample", lambda self, _shape=(): self.loc)
    return Pair(ours, theirs, adata)


def assert_close(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    assert list(ours.columns) == list(theirs.columns)
    np.testing.assert_allclose(ours.to_numpy(), theirs.to_numpy(), rtol=2e-4, atol=1e-6)


def test_latents(pair: Pair) -> None:
    mean, variance = pair.ours.get_latent_representation(return_dist=True)
    theirs = pair.theirs.get_latent_representation(return_dist=True)
    np.testing.assert_allclose(mean, theirs[0], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(variance, theirs[1], rtol=1e-3, atol=1e-5)
    library = pair.theirs.get_latent_library_size(give_mean=False)
    np.testing.assert_allclose(pair.ours.get_latent_library_size(), library, rtol=1e-5)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"library_size": 1000.0},
        {"library_size": "latent"},
        {"include_protein_background": True},
        {"scale_protein": True, "include_protein_background": True},
        {"transform_batch": "B1"},
        {"transform_batch": ["B2", "B0"], "include_protein_background": True},
        {"gene_list": []},
    ],
    ids=str,
)
def test_normalised_expression(pair: Pair, asked: dict[str, Any]) -> None:
    ours = pair.ours.get_normalized_expression(**asked)
    theirs = pair.theirs.get_normalized_expression(n_samples=1, **asked)
    for own, expected in zip(ours, theirs, strict=True):
        assert_close(own, expected)


@pytest.mark.parametrize("batch", [None, "B1", ["B2", "B0"]], ids=str)
def test_foreground_probability(pair: Pair, batch: Any) -> None:
    ours = pair.ours.get_protein_foreground_probability(transform_batch=batch)
    theirs = pair.theirs.get_protein_foreground_probability(transform_batch=batch)
    assert_close(ours, theirs)


def test_differential_expression_has_their_columns_and_numbers(pair: Pair) -> None:
    pair.ours.store.cells["kind"] = pair.adata.obs["kind"].to_numpy()
    with torch.no_grad():  # theirs draws means of z here
        pair.ours.stack.encoder.log_variance.weight.zero_()
        pair.ours.stack.encoder.log_variance.bias.fill_(-40.0)
    settings: dict[str, Any] = {
        "groupby": "kind",
        "group1": "one",
        "group2": "two",
        "batch_correction": True,
    }
    settings["pseudocounts"] = 1e-5
    got = differential_expression(pair.ours, n_samples_overall=3000, **settings)
    state = np.random.get_state()
    theirs = pair.theirs.differential_expression(n_samples_overall=3000, silent=True, **settings)
    np.random.set_state(state)
    assert list(got.columns) == list(theirs.columns)
    assert set(got.index) == set(theirs.index)
    theirs = theirs.loc[got.index]
    for column in ("raw_mean1", "non_zeros_proportion2", "raw_normalized_mean1"):
        np.testing.assert_allclose(got[column], theirs[column].astype(float), rtol=1e-5)
    # other cells were drawn
    np.testing.assert_allclose(got["scale1"], theirs["scale1"], rtol=0.1)
    np.testing.assert_allclose(got["proba_de"], theirs["proba_de"], atol=0.06)
    np.testing.assert_allclose(got["lfc_median"], theirs["lfc_median"], atol=0.1)


@pytest.mark.parametrize("mode", ["change", "vanilla"])
def test_statistics_of_given_samples(mode: Any) -> None:
    from scvi.model.base._de_core import _fdr_de_prediction
    from scvi.model.base._differential import DifferentialComputation

    rng = np.random.default_rng(0)
    level = rng.gamma(0.5, 1.0, 300) * np.exp(0.2 * rng.standard_normal((2, 1, 300)))
    one, two = rng.gamma(30.0, level / 30, (2, 400, 300)).astype(np.float32)

    class Manager:
        """Two groups of 400 cells; all that is asked of a manager here."""

        adata = ad.AnnData(np.zeros((800, 1), dtype="f4"))

    def samples(_: Any, indices: Any, **__: Any) -> np.ndarray:
        return one if indices[0] == 0 else two

    theirs = DifferentialComputation(samples, None, Manager()).get_bayes_factors(
        np.arange(800) < 400,
        np.arange(800) >= 400,
        mode=mode,
        delta=0.3,
        pseudocounts=1e-3,
        use_observed_batches=True,
        n_samples_overall=400,
    )
    ours = change_statistics(one, two, mode=mode, delta=0.3, pseudocounts=1e-3)
    assert list(ours.columns) == list(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-3, atol=1e-4, err_msg=name)
    if mode == "change":
        for target in (0.01, 0.05, 0.2):
            called = posterior_expected_fdr(ours["proba_de"].to_numpy(), target)
            expected = _fdr_de_prediction(ours["proba_de"], fdr=target)
            np.testing.assert_array_equal(called, expected)
            assert 0 < called.sum() < 300


def test_predictive_checks_are_their_metrics(make_outputs: Make) -> None:
    from scvi.criticism import PosteriorPredictiveCheck

    outputs = make_outputs()
    genes = list(outputs.genes)
    column = [outputs.store.genes.index(g) for g in genes]
    adata = ad.AnnData(outputs.store.rna[:, column].astype("i4"))
    adata.var_names = genes

    class Model:
        """Draws what ours draws, in the form that theirs expects."""

        def __init__(self) -> None:
            self.adata = adata

        def posterior_predictive_sample(self, *_: Any, n_samples: int, **__: Any) -> Any:
            from sparse import GCXS

            drawn = outputs.posterior_predictive_sample(n_samples=n_samples, seed=4)["rna"]
            return GCXS.from_numpy(drawn)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check = PosteriorPredictiveCheck(adata, {"ours": Model()}, n_samples=5)
        check.coefficient_of_variation("cells")
        check.zero_fraction()
    table = posterior_predictive_check(outputs, n_samples=5, seed=4).loc[genes]
    cv = check.metrics["cv_gene"]
    np.testing.assert_allclose(table["coefficient_of_variation_sampled"], cv["ours"], rtol=1e-5)
    np.testing.assert_allclose(table["coefficient_of_variation_raw"], cv["Raw"], rtol=1e-5)
    nonzero = check.metrics["zero_fraction"]  # they count what is not zero
    np.testing.assert_allclose(1 - table["zero_fraction_sampled"], nonzero["ours"], rtol=1e-5)
    np.testing.assert_allclose(1 - table["zero_fraction_raw"], nonzero["Raw"], rtol=1e-5)
