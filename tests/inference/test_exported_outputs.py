"""Outputs in exported files: where scverse tools look, in the order of the cohort, flagged."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recart.data.cohort import Cohort
from recart.data.features import bind
from recart.data.store import CohortStore
from recart.inference.explain import Drivers
from recart.inference.export import export
from recart.inference.new_patients import NewPatients
from recart.inference.outputs.ensemble import EnsembleOutputs
from recart.inference.outputs.exported import OUTPUTS, ExportedOutputs, check_outputs
from recart.inference.outputs.member_outputs import MemberOutputs
from recart.problems import InputError

Make = Callable[..., Any]


def new_store(store: CohortStore) -> CohortStore:
    """New data: cells were read in another order, one gene is gone, two samples lack a protein."""
    order = np.random.default_rng(5).permutation(len(store.cells))
    measured = store.protein_measured.copy()
    measured[[0, 1], 4] = False
    protein = np.array(store.protein)
    protein[np.isin(store.cells["sample"], [0, 1]), 4] = 0
    return replace(
        store,
        rna=store.rna[:, 1:],
        genes=store.genes[1:],
        protein=protein,
        protein_measured=measured,
        cells=store.cells.assign(source=order),
    )


def cohort_of(store: CohortStore) -> Cohort:
    """The cohort whose store this is, as it was read."""
    place = np.argsort(store.cells["source"].to_numpy())
    cells = pd.DataFrame(
        {"sample": store.samples.index.to_numpy()[store.cells["sample"].to_numpy()[place]]},
        index=[f"cell-{i}" for i in range(len(place))],
    )
    samples = store.samples[["batch"]].assign(
        patient=store.patients.index.to_numpy()[store.samples["patient"]]
    )
    return Cohort(
        rna=sparse.csr_matrix(store.rna)[place],
        genes=pd.DataFrame(index=pd.Index(store.genes)),
        cells=cells,
        samples=samples,
        patients=store.patients,
        protein=np.asarray(store.protein, dtype=np.float32)[place],
        proteins=list(store.proteins),
        protein_measured=store.protein_measured,
    )


@pytest.fixture
def exported(make_outputs: Make, tmp_path: Path) -> Callable[[str, list[str]], tuple[Any, Path]]:
    """`exported(suffix, names)`: the outputs, and the file that they were written to."""
    trained = make_outputs()
    store = new_store(trained.store)
    members = [
        MemberOutputs(m.stack, bind(m.bound.features, store), store)
        for m in (trained, make_outputs(seed=1))
    ]
    outputs = EnsembleOutputs(members)

    def write(suffix: str, names: list[str]) -> tuple[Any, Path]:
        table = pd.DataFrame(
            {"n_cells": 1, "probability": 0.5, "flags": ""}, index=store.patients.index
        )
        latents = np.zeros((len(store.cells), 4), dtype=np.float32)
        nothing = Drivers(groups=table, features=table, summary=table, scale="log-odds")
        new = NewPatients(
            latents=latents, reference="m", patients=table, embedding=table, drivers=nothing
        )
        path = tmp_path / f"out{suffix}"
        export(cohort_of(store), new, path, {}, ExportedOutputs(outputs, names))
        return outputs, path

    return write


def read(path: Path) -> Any:
    import mudata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ad.read_h5ad(path) if path.suffix == ".h5ad" else mudata.read_h5mu(path)


def test_everything_stands_where_scanpy_looks(exported: Make) -> None:
    outputs, path = exported(".h5ad", list(OUTPUTS))
    adata = read(path)
    place = np.argsort(outputs.store.cells["source"].to_numpy())
    rna, protein = outputs.get_normalized_expression(library_size=1e4)
    layer = adata.layers["denoised_rna"]
    assert sparse.issparse(layer)
    assert layer.dtype == np.float32
    assert layer.has_canonical_format
    modelled = adata.var["recart_modelled"].to_numpy(dtype=bool)
    assert set(adata.var_names[modelled]) == set(outputs.genes)
    assert 0 < modelled.sum() < adata.n_vars
    table = pd.DataFrame(layer.toarray(), columns=adata.var_names)
    np.testing.assert_allclose(table[list(outputs.genes)], rna.to_numpy()[place], rtol=1e-4)
    assert not table.loc[:, ~modelled].to_numpy().any()
    np.testing.assert_allclose(adata.obsm["denoised_protein"], protein.to_numpy()[place], rtol=1e-4)
    foreground = outputs.get_protein_foreground_probability()
    np.testing.assert_allclose(
        adata.obsm["protein_foreground_prob"], foreground.to_numpy()[place], rtol=1e-4
    )
    assert (adata.obsm["X_recart"] == 0).all()
    subset = adata[:5, modelled].copy()  # a view of the layer works as any other
    assert subset.layers["denoised_rna"].shape == (5, modelled.sum())


def test_only_what_was_not_measured_is_imputed_and_it_is_flagged(exported: Make) -> None:
    outputs, path = exported(".h5ad", ["imputed_protein"])
    adata = read(path)
    assert "X_recart" not in adata.obsm
    assert "denoised_rna" not in adata.layers
    imputed, measured = adata.obsm["imputed_protein"], adata.obsm["protein_measured"]
    lost = outputs.store.proteins[4]
    lacks = adata.obs["sample"].isin(outputs.store.samples.index[:2]).to_numpy()
    assert list(imputed.columns) == [lost]
    np.testing.assert_array_equal(imputed[lost].notna(), lacks)
    np.testing.assert_array_equal(measured[lost], ~lacks)
    assert measured.drop(columns=lost).to_numpy().all()
    assert (imputed.loc[lacks, lost] > 0).all()


def test_mudata_holds_proteins_as_layers_of_their_modality(exported: Make) -> None:
    outputs, path = exported(".h5mu", ["latents", "denoised_rna", "denoised_protein"])
    bundle = read(path)
    _, protein = outputs.get_normalized_expression()
    place = np.argsort(outputs.store.cells["source"].to_numpy())
    prot = bundle["prot"]
    assert list(prot.var_names) == list(outputs.proteins)
    np.testing.assert_allclose(
        prot.layers["denoised_protein"], protein.to_numpy()[place], rtol=1e-4
    )
    assert bundle["rna"].layers["denoised_rna"].nnz == len(place) * len(outputs.genes)
    assert "X_recart" in bundle.obsm


def test_a_patient_alone_has_the_outputs_it_has_in_company(make_outputs: Make) -> None:
    trained = make_outputs()
    store = trained.store
    whole = ExportedOutputs(trained, ["denoised_protein"]).tables()["denoised_protein"]
    own = store.cells["sample"].to_numpy() < 2
    cells = store.cells[own].reset_index(drop=True)
    alone = replace(
        store,
        rna=store.rna[: own.sum()],
        protein=store.protein[: own.sum()],
        cells=cells,
        samples=store.samples[:2],
        patients=store.patients[:1],
        protein_measured=store.protein_measured[:2],
    )
    member = MemberOutputs(trained.stack, bind(trained.bound.features, alone), alone)
    table = ExportedOutputs(member, ["denoised_protein"]).tables()["denoised_protein"]
    pd.testing.assert_frame_equal(table, whole[: own.sum()], check_exact=True)


def test_unknown_outputs_are_refused() -> None:
    with pytest.raises(InputError, match=r"E-OUT-009.*denoised_protien.*choose among latents"):
        check_outputs(["latents", "denoised_protien"])


@pytest.mark.slow
def test_scanpy_opens_and_plots_the_export(exported: Make) -> None:
    import matplotlib as mpl
    import scanpy as sc

    mpl.use("agg")
    _, path = exported(".h5ad", ["latents", "protein_foreground_prob"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what scanpy, umap and numba say of themselves
        adata = sc.read_h5ad(path)
        sc.pp.neighbors(adata, use_rep="X_recart", n_neighbors=10)
        sc.tl.umap(adata, random_state=0)
        of_cells = ["recart_probability", "recart_flags", adata.var_names[0]]
        panels = sc.pl.umap(adata, color=of_cells, show=False)
        axes = sc.pl.embedding(adata, basis="X_recart", color="sample", show=False)
    assert len(panels) == 3
    for own in (*panels, axes):
        assert sum(len(drawn.get_offsets()) for drawn in own.collections) == adata.n_obs
    mpl.pyplot.close("all")
