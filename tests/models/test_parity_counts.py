"""Parity with scvi-tools' TOTALVI on counts as they come: blood cells and the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import torch

from recart.data.simulate import SimulatedCohort
from recart.models.rna import NegativeBinomial, ZeroInflated
from recart.models.rna_likelihood import RnaLikelihood

pytestmark = pytest.mark.slow  # imports scvi-tools: about 10 s

CELLS, GENES = 200, 1000
LIKELIHOODS = pytest.mark.parametrize(
    ("likelihood", "recipe"),
    [
        (("nb", "gene"), NegativeBinomial()),
        (("nb", "gene-batch"), NegativeBinomial(per_batch=True)),
        (("zinb", "gene"), ZeroInflated()),
    ],
    ids=["nb", "nb-per-batch", "zinb"],
)
# gradients of sums over hundreds of cells keep fewer digits than the sums
PRECISIONS = pytest.mark.parametrize(
    ("dtype", "tolerance", "of_gradients"),
    [(torch.float64, 1e-12, 1e-10), (torch.float32, 1e-5, 1e-3)],
    ids=["float64", "float32"],
)


def _check(compared: Any, tolerance: float, of_gradients: float) -> None:
    assert compared.ours.item() == pytest.approx(compared.theirs.loss.item(), rel=tolerance)
    for name, ours, theirs in compared.terms():
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=0.0, msg=name)
    for name, ours, theirs in compared.gradients():
        assert (ours - theirs).abs().max() <= of_gradients * theirs.abs().max(), name


@pytest.fixture(scope="module")
def blood(real_data: Path) -> tuple[np.ndarray, np.ndarray]:
    """RNA and all proteins of some cells; the genes most seen in them."""
    adata = ad.read_h5ad(real_data / "citeseq_pbmc/pbmc10k_citeseq_rna4000_adt14.h5ad")
    adata = adata[np.random.default_rng(0).choice(adata.n_obs, CELLS, replace=False)]
    rna = np.asarray(adata.X.todense())
    genes = np.sort(np.argsort(-rna.sum(axis=0))[:GENES])
    return rna[:, genes], np.asarray(adata.obsm["protein_counts"])


@pytest.mark.real_data
@PRECISIONS
@LIKELIHOODS
def test_blood_cells(
    likelihood: tuple[str, str],
    recipe: RnaLikelihood,
    dtype: torch.dtype,
    tolerance: float,
    of_gradients: float,
    blood: tuple[np.ndarray, np.ndarray],
    make_cells: Any,
    compare_models: Any,
) -> None:
    rna, protein = (torch.from_numpy(own.astype(np.float64)) for own in blood)
    measured = torch.ones(2, protein.shape[1], dtype=torch.bool)
    measured[1, ::4] = False
    cells = make_cells(rna, protein, torch.arange(CELLS) % 2, measured)
    assert cells.x.max() > 100
    assert cells.y.max() > 1000
    _check(compare_models(cells, recipe, likelihood, dtype, hidden=64), tolerance, of_gradients)


@PRECISIONS
@LIKELIHOODS
def test_simulated_cells(
    likelihood: tuple[str, str],
    recipe: RnaLikelihood,
    dtype: torch.dtype,
    tolerance: float,
    of_gradients: float,
    make_cells: Any,
    compare_models: Any,
) -> None:
    cohort = SimulatedCohort(4, 20, GENES).read()
    assert cohort.protein is not None
    batches = cohort.samples["batch"].astype("category").cat.codes
    codes = batches.loc[cohort.cells["sample"]].to_numpy(dtype=np.int64)
    cells = make_cells(
        torch.from_numpy(cohort.rna.toarray().astype(np.float64)),
        torch.from_numpy(np.asarray(cohort.protein, dtype=np.float64)),
        torch.from_numpy(codes),
        torch.ones(int(codes.max()) + 1, len(cohort.proteins), dtype=torch.bool),
    )
    _check(compare_models(cells, recipe, likelihood, dtype, hidden=64), tolerance, of_gradients)
