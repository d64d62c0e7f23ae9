"""Variable genes in passes over slices: scanpy's scores, and the same from disk."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse

from recart.data import variable_genes
from recart.data.rows import pieces
from recart.data.simulate import SimulatedCohort
from recart.data.store import CohortStore, open_store, write_store
from recart.data.variable_genes import most_variable


@pytest.fixture(scope="module")
def counts() -> sparse.csr_matrix:
    """As real counts are: many genes hardly seen, a few very high."""
    return sparse.csr_matrix(SimulatedCohort(4, 150, 1000).read().rna)


def _scanpy(rna: sparse.csr_matrix, normalised: bool) -> np.ndarray:
    import scanpy

    adata = anndata.AnnData(rna.astype(np.float32))
    flavor = "seurat" if normalised else "seurat_v3"
    scanpy.pp.highly_variable_genes(adata, n_top_genes=200, flavor=flavor)
    return adata.var["dispersions_norm" if normalised else "variances_norm"].to_numpy()


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("everything", [True, False])
def test_scores_and_genes_are_scanpys(
    counts: sparse.csr_matrix, normalised: bool, everything: bool
) -> None:
    rng = np.random.default_rng(0)
    rna = counts
    if normalised:
        rna = counts.astype(np.float32)
        rna = sparse.csr_matrix(rna.multiply(1e4 / rna.sum(axis=1))).astype(np.float32).log1p()
    cells = np.arange(rna.shape[0])
    genes = np.arange(rna.shape[1])
    if not everything:
        cells = np.sort(rng.choice(cells, 300, replace=False))
        genes = np.sort(rng.choice(genes, 700, replace=False))
    expected = _scanpy(rna[cells][:, genes], normalised)
    score = (
        variable_genes._standardised_dispersion
        if normalised
        else variable_genes._standardised_variance
    )
    np.testing.assert_allclose(score(rna, cells, genes), expected, rtol=2e-5, atol=1e-7)
    chosen = most_variable(rna, cells, genes, 200, normalised=normalised)
    ranked = np.argsort(-np.nan_to_num(expected, nan=-np.inf), kind="stable")[:200]
    np.testing.assert_array_equal(chosen, genes[ranked])


def test_a_gene_beyond_the_clip_counts_less(counts: sparse.csr_matrix) -> None:
    """One cell of a thousand with a huge count is no variable gene."""
    rna = counts.tolil()
    rna[3, 5] = 60_000
    cells, genes = np.arange(rna.shape[0]), np.arange(rna.shape[1])
    spiked = sparse.csr_matrix(rna).astype(np.float64)
    clipped = variable_genes._standardised_variance(spiked, cells, genes)
    mean, squares = (np.asarray(m.mean(axis=0)).ravel() for m in (spiked, spiked.multiply(spiked)))
    assert np.argmax(squares - mean**2) == 5
    np.testing.assert_allclose(clipped, _scanpy(spiked, False), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("size", [7, 64])
def test_the_same_bits_from_disk(
    make_store: Callable[..., CohortStore],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    monkeypatch.setattr(variable_genes, "pieces", partial(pieces, size=size))
    store = make_store(patients=4, cells=80)
    write_store(store, tmp_path / "a.zarr")
    on_disk = open_store(tmp_path / "a.zarr", in_memory=False)
    cells, genes = np.arange(20, 150), np.arange(40)
    scores = [
        variable_genes._standardised_variance(rna, cells, genes) for rna in (store.rna, on_disk.rna)
    ]
    assert scores[0].tobytes() == scores[1].tobytes()
