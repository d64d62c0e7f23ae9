"""`CohortStore`: cells sorted by patient and sample, so that a patient, a bag, a fold is a slice.

On disk it is an AnnData in Zarr (`anndata.read_zarr` opens it): `X` the RNA, `obsm["protein"]`,
`uns["samples"]`, `uns["patients"]`, `uns["clones"]`, `uns["receptor"]`. Ids in it are pseudonyms.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from recart.problems import InputError, Problem

__all__ = ["CohortStore", "open_store", "write_store"]

SCHEMA = 1

Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, kw_only=True)
class CohortStore:
    """One cohort, sorted by (patient, sample) and shuffled once inside each sample.

    Attributes
    ----------
    rna
        (c, g) CSR in the smallest integer type that holds it, or float32 where normalised.
    protein, proteins
        (c, a) raw counts, 0 where not measured, and their names; None and () without proteins.
    protein_measured
        (s, a) bool.
    cells
        (c) `source` (row in the cohort as read), `sample`, `patient`, `clone` (codes; -1: no
        receptor), `n_counts`, `n_genes`, `pct_mito`, and `car_umi`, `cell_type` where given.
    samples
        (s) by pseudonym; `patient` (code), `start`, `stop` (range of cells), `has_receptor`, and
        the sample columns that were given.
    patients
        (p) by pseudonym; endpoint columns and covariates.
    receptor, clones
        (clone, t) one embedding per clonotype, and its table; `known` is False where the sequence
        could not be read. None without receptors.
    normalised
        True where `rna` holds normalised values and not counts.
    dropped
        What was left out on the way here, by reason.
    """

    rna: sparse.csr_matrix
    genes: tuple[str, ...]
    protein: np.ndarray[Any, Any] | None
    proteins: tuple[str, ...]
    protein_measured: np.ndarray[Any, np.dtype[np.bool_]]
    cells: pd.DataFrame
    samples: pd.DataFrame
    patients: pd.DataFrame
    receptor: Floats | None
    clones: pd.DataFrame | None
    normalised: bool
    dropped: dict[str, int]

    @property
    def receptor_dim(self) -> int:
        """Length of a receptor embedding; 0 without receptors."""
        return 0 if self.receptor is None else int(self.receptor.shape[1])

    def sample_slice(self, sample: int) -> slice:
        """The cells of one sample."""
        row = self.samples.iloc[sample]
        return slice(int(row["start"]), int(row["stop"]))


@contextmanager
def _zarr_3() -> Iterator[None]:
    import anndata

    with warnings.catch_warnings(), anndata.settings.override(zarr_write_format=3):
        # zarr warns that strings and codecs are not yet in the version 3 specification
        warnings.simplefilter("ignore")
        yield


def write_store(store: CohortStore, path: Path) -> None:
    """Write `store` to `path`, whole or not at all: beside the target first, then renamed."""
    import anndata

    cells = store.cells.assign(
        sample=pd.Categorical.from_codes(store.cells["sample"], store.samples.index),
        patient=pd.Categorical.from_codes(store.cells["patient"], store.patients.index),
    )
    cells.index = pd.Index([f"cell{i}" for i in range(len(cells))])
    adata = anndata.AnnData(
        X=store.rna, obs=cells, var=pd.DataFrame(index=pd.Index(store.genes, dtype=object))
    )
    if store.protein is not None:
        adata.obsm["protein"] = store.protein
    adata.uns.update(
        schema=SCHEMA,
        normalised=store.normalised,
        proteins=np.array(store.proteins, dtype=object),
        protein_measured=store.protein_measured,
        samples=_writable(store.samples),
        patients=_writable(store.patients),
        dropped={_key(name): int(count) for name, count in store.dropped.items()},
    )
    if store.clones is not None:
        adata.uns["clones"] = _writable(store.clones)
    if store.receptor is not None:
        adata.uns["receptor"] = store.receptor
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _zarr_3():
            adata.write_zarr(part)
        _put_in_place(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _put_in_place(part: Path, path: Path) -> None:
    """Rename `part` to `path`; a folder can't be replaced in one step: the old steps aside."""
    aside = part.with_suffix(".old")
    if path.exists():
        os.replace(path, aside)
    try:
        os.replace(part, path)
    except BaseException:
        if aside.exists():
            os.replace(aside, path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def open_store(path: Path) -> CohortStore:
    """Read a store into memory.

    Raises
    ------
    InputError
        If there is no store at `path`, or it was written by another version of the layout.
    """
    import anndata

    if not (path / "zarr.json").exists():
        problem = Problem(
            code="E-STORE-001",
            what="the prepared cohort is not there",
            mend="run this from where train.py ran, or set paths.prepared there; if the prepared "
            "cohort was deleted, train.py with paths.run=<the run> makes it anew",
            file=path.name,
        )
        raise InputError([problem])
    with _zarr_3():
        adata = anndata.read_zarr(path)
    uns = adata.uns
    if int(uns["schema"]) != SCHEMA:
        problem = Problem(
            code="E-STORE-002",
            what=f"layout version {uns['schema']}, this version of recart reads {SCHEMA}",
            mend="delete the prepared cohort; the next run prepares it anew",
            file=path.name,
        )
        raise InputError([problem])
    cells = adata.obs.reset_index(drop=True)
    samples, patients = _readable(uns["samples"]), _readable(uns["patients"])
    cells["sample"] = samples.index.get_indexer(pd.Index(cells["sample"].astype(str))).astype(
        np.int32
    )
    cells["patient"] = patients.index.get_indexer(pd.Index(cells["patient"].astype(str))).astype(
        np.int32
    )
    return CohortStore(
        rna=sparse.csr_matrix(adata.X),
        genes=tuple(map(str, adata.var_names)),
        protein=np.asarray(adata.obsm["protein"]) if "protein" in adata.obsm else None,
        proteins=tuple(map(str, uns["proteins"])),
        protein_measured=np.asarray(uns["protein_measured"], dtype=bool),
        cells=cells,
        samples=samples,
        patients=patients,
        receptor=np.asarray(uns["receptor"]) if "receptor" in uns else None,
        clones=_readable(uns["clones"]).reset_index(drop=True) if "clones" in uns else None,
        normalised=bool(uns["normalised"]),
        dropped={_name(str(k)): int(v) for k, v in dict(uns["dropped"]).items()},
    )


def _writable(table: pd.DataFrame) -> pd.DataFrame:
    """Object columns as strings or nullable values that AnnData can write."""
    written = table.copy()
    written.index = written.index.astype(str)
    written.columns = pd.Index([_key(str(column)) for column in written.columns], dtype=object)
    for column in written.columns:
        values = written[column]
        if values.dtype == object:
            as_text = values.where(values.isna(), values.astype(str))
            written[column] = pd.Categorical(as_text)
    return written


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    """A table with the names of columns that it was given."""
    return table.set_axis([_name(str(column)) for column in table.columns], axis=1)


def _key(name: str) -> str:
    """Zarr reads a slash as a folder; clinical columns are named "CAR+ cells/uL"."""
    return name.replace("%", "%25").replace("/", "%2F")


def _name(key: str) -> str:
    return key.replace("%2F", "/").replace("%25", "%")
