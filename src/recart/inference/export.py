"""Write what new patients give: cells as AnnData or MuData, patients as Parquet and CSV."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from recart.data.cohort import Cohort
from recart.inference.new_patients import NewPatients
from recart.inference.outputs.exported import ExportedOutputs
from recart.problems import InputError, Problem

__all__ = ["check_output", "export"]

_KINDS = (".h5ad", ".h5mu")


def check_output(output: Path) -> None:
    """Refuse an output that could not be written, before any work.

    Raises
    ------
    InputError
        If the suffix is neither `.h5ad` nor `.h5mu`, or the folder is not there.
    """
    problems = []
    if output.suffix not in _KINDS:
        problems.append(
            Problem(
                code="E-OUT-001",
                what=f"output ends in '{output.suffix}'",
                mend="give a file that ends in .h5ad or .h5mu",
                file=output.name,
            )
        )
    if not output.parent.is_dir():
        problems.append(
            Problem(
                code="E-OUT-002",
                what="the folder of the output is not there",
                mend=f"mkdir -p {output.parent}",
                file=output.name,
            )
        )
    if problems:
        raise InputError(problems)


def export(
    cohort: Cohort,
    new: NewPatients,
    output: Path,
    model: dict[str, str],
    exported: ExportedOutputs | None = None,
) -> list[Path]:
    """Write cells to `output`, and beside it the tables of predictions and patient embeddings.

    Cells keep their ids, order and columns; `obsm["X_recart"]` is the embedding, `obs` says what
    was predicted for the cell's patient, `uns["recart"]` which model did it (`model`).

    With `exported`, `layers["denoised_rna"]` has entries for the genes with
    `var["recart_modelled"]`, and protein outputs are tables in `obsm` under their names, with
    `obsm["protein_measured"]` False where a value was imputed. In MuData they stand in `rna`, and
    those of the panel's proteins as layers of `prot` as well.
    """
    adata = _cells(cohort, new, model)
    if exported is not None:
        _add_outputs(adata, exported)
    tables = {
        output.with_name(f"{output.stem}.predictions"): new.patients,
        output.with_name(f"{output.stem}.patients"): new.embedding,
    }
    written = []
    for stem, table in tables.items():
        named = table.rename_axis("bag").reset_index()
        named.columns = named.columns.astype(str)
        for suffix, write in ((".parquet", named.to_parquet), (".csv", named.to_csv)):
            path = stem.with_name(stem.name + suffix)
            _whole(path, partial(write, index=False))
            written.append(path)

    def write_all(part: Path) -> None:
        _write_cells(adata, cohort, part, output.suffix)
        if exported is not None and "denoised_rna" in exported.names:
            _write_denoised_rna(part, exported, list(adata.var_names))

    _whole(output, write_all)
    return [output, *written]


def _cells(cohort: Cohort, new: NewPatients, model: dict[str, str]) -> Any:
    import anndata

    obs = cohort.cells.join(cohort.samples, on="sample", rsuffix="_of_sample")
    obs = obs.join(cohort.patients, on="patient", rsuffix="_of_patient")
    patient = obs["patient"].astype(str).to_numpy()
    of_bag = new.patients.reindex(patient)
    if of_bag["n_cells"].isna().all():  # bags are samples
        of_bag = new.patients.reindex(obs["sample"].astype(str))
    obs["recart_probability"] = of_bag["probability"].to_numpy(dtype=float)
    obs["recart_flags"] = pd.Categorical(of_bag["flags"].fillna("").astype(str))
    for column in obs.select_dtypes("object").columns:
        obs[column] = obs[column].astype(str).astype("category")
    adata = anndata.AnnData(X=cohort.rna, obs=obs, var=cohort.genes.copy())
    adata.obsm["X_recart"] = new.latents
    adata.uns["recart"] = {**model, "reference_member": new.reference}
    if new.cell_flags is not None:
        for name, values in new.cell_flags.items():
            adata.obs[name] = values.to_numpy()
    return adata


def _add_outputs(adata: Any, exported: ExportedOutputs) -> None:
    if "latents" not in exported.names:
        del adata.obsm["X_recart"]
    if "denoised_rna" in exported.names:
        adata.var["recart_modelled"] = adata.var_names.isin(list(exported.outputs.genes))
    for name, table in exported.tables().items():
        adata.obsm[name] = table.set_axis(adata.obs_names)


def _write_denoised_rna(path: Path, exported: ExportedOutputs, genes: list[str]) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        layers = file["layers" if path.suffix == ".h5ad" else "mod/rna/layers"]
        exported.write_rna(layers, genes)


def _write_cells(adata: Any, cohort: Cohort, path: Path, suffix: str) -> None:
    import anndata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # notes on string columns that are written as they are
        if suffix == ".h5ad":
            if cohort.protein is not None:
                adata.obsm["protein"] = pd.DataFrame(
                    cohort.protein, index=adata.obs_names, columns=cohort.proteins
                )
            adata.write_h5ad(path)
            return
        import mudata

        parts = {"rna": adata}
        if cohort.protein is not None:
            protein_names = pd.DataFrame(index=pd.Index(cohort.proteins, dtype=object))
            prot = anndata.AnnData(X=cohort.protein, obs=adata.obs[[]].copy(), var=protein_names)
            for name in ("denoised_protein", "protein_foreground_prob"):
                if name in adata.obsm:  # a protein that the model does not know is NaN
                    known = adata.obsm[name].reindex(columns=cohort.proteins)
                    prot.layers[name] = known.to_numpy(dtype="float32")
            parts["prot"] = prot
        bundle = mudata.MuData(parts)
        bundle.obs["sample"] = adata.obs["sample"]
        bundle.obs["patient"] = adata.obs["patient"]
        if "X_recart" in adata.obsm:
            bundle.obsm["X_recart"] = adata.obsm["X_recart"]
        bundle.uns["recart"] = adata.uns["recart"]
        bundle.write_h5mu(path)


def _whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside the target, then rename: nothing half-written is left behind."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
