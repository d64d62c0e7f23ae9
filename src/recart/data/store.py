"""`CohortStore`: cells sorted by patient and sample, so that a patient, a bag, a fold is a slice.

On disk it is an AnnData in Zarr (`anndata.read_zarr` opens it): `X` the RNA, `obsm["protein"]`,
`uns["samples"]`, `uns["patients"]`, `uns["clones"]`, `uns["receptor"]`. Ids in it are pseudonyms.
A store that does not fit in memory is left on disk and read by contiguous rows.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recart.data.clone_weights import clone_weights
from recart.data.free_memory import free_memory
from recart.data.rows import RowArray
from recart.data.store_arrays import CsrOnDisk, read_csr, size_in_memory, write_dense, write_rna
from recart.problems import InputError, Problem

__all__ = ["CohortStore", "open_store", "write_store"]

SCHEMA = 2  # 2: cells have their B cell clone

Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, kw_only=True)
class CohortStore:
    """One cohort, sorted by (patient, sample) and shuffled once inside each sample.

    Attributes
    ----------
    rna
        (c, g) in the smallest integer type that holds it, or float32 where normalised: a CSR matrix
        in memory, or a `CsrOnDisk`. `rna[a:b]` is a CSR matrix in either case.
    genes, gene_ids
        Names of the genes, and their Ensembl ids as they were given, empty where not; `gene_ids` is
        () in a store of before.
    protein, proteins
        (c, a) raw counts, 0 where not measured, and their names; None and () without proteins. A
        numpy array, or a `zarr.Array` on disk; `protein[a:b]` is a numpy array in either case.
    protein_measured
        (s, a) bool.
    cells
        (c) `source` (row in the cohort as read), `sample`, `patient`, `clone` (codes; -1: no
        receptor), `bcr_clone` (likewise, of the B cell receptor), `n_counts`, `n_genes`,
        `pct_mito`, and `car_umi`, `cell_type` where given.
    samples
        (s) by pseudonym; `patient` (code), `start`, `stop` (range of cells), `has_receptor`, and
        the sample columns that were given.
    patients
        (p) by pseudonym; endpoint columns and covariates.
    receptor, clones
        (clone, t) one embedding per clonotype, and its table; `known` is False where the sequence
        could not be read, `receptor` is a keyed name of genes and sequences (empty without any),
        `invariant` is True for those of MAIT and iNKT cells. None without receptors.
    normalised
        True where `rna` holds normalised values and not counts.
    dropped
        What was left out on the way here, by reason.
    path
        Where `rna` and `protein` are read from; None where they are in memory. Another process
        opens the same store by it.
    markers_of
        Markers of bags that were asked for, see `recart.data.bag_markers`; a changed store starts
        anew.
    """

    rna: RowArray
    genes: tuple[str, ...]
    protein: RowArray | None
    proteins: tuple[str, ...]
    protein_measured: np.ndarray[Any, np.dtype[np.bool_]]
    cells: pd.DataFrame
    samples: pd.DataFrame
    patients: pd.DataFrame
    receptor: Floats | None
    clones: pd.DataFrame | None
    normalised: bool
    dropped: dict[str, int]
    path: Path | None = None
    gene_ids: tuple[str, ...] = ()
    markers_of: dict[Any, Floats] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def receptor_dim(self) -> int:
        """Length of a receptor embedding; 0 without receptors."""
        return 0 if self.receptor is None else int(self.receptor.shape[1])

    @cached_property
    def clone_weight(self) -> Floats:
        """(c) weights under which each clone with an embedding counts once a sample."""
        clone = self.cells["clone"].to_numpy()
        if self.clones is not None and len(self.clones):
            known = self.clones["known"].to_numpy(dtype=bool)
            clone = np.where((clone >= 0) & known[clone], clone, -1)
        return clone_weights(clone, self.cells["sample"].to_numpy())

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
    """Write `store` to `path`, whole or not at all: beside the target first, then renamed.

    `rna` and `protein` are written piece by piece, so that neither need be in memory.
    """
    import anndata
    import zarr

    cells = store.cells.assign(
        sample=pd.Categorical.from_codes(store.cells["sample"], store.samples.index),
        patient=pd.Categorical.from_codes(store.cells["patient"], store.patients.index),
    )
    cells.index = pd.Index([f"cell{i}" for i in range(len(cells))])
    genes = pd.DataFrame(index=pd.Index(store.genes, dtype=object))
    if store.gene_ids:
        genes["ensembl"] = np.array(store.gene_ids, dtype=object)
    adata = anndata.AnnData(obs=cells, var=genes)
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
            group: Any = zarr.open_group(part, mode="r+", use_consolidated=False)
            write_rna(group, store.rna)
            if store.protein is not None:
                write_dense(group["obsm"], "protein", store.protein)
            zarr.consolidate_metadata(group.store)
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


def open_store(path: Path, *, in_memory: bool | None = None, sharers: int = 1) -> CohortStore:
    """Read a store into memory, or leave `rna` and `protein` on disk.

    Parameters
    ----------
    path
        Folder that `write_store` made.
    in_memory
        Whether `rna` and `protein` are read into memory; None reads them where they take less than
        half of the memory that is free.
    sharers
        Processes that share what is free, each of which opens the store.

    Raises
    ------
    InputError
        If there is no store at `path`, or it was written by another version of the layout.
    """
    import zarr
    from anndata.io import read_elem

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
        group: Any = zarr.open_group(path, mode="r")
        uns = read_elem(group["uns"])
        if int(uns["schema"]) != SCHEMA:
            problem = Problem(
                code="E-STORE-002",
                what=f"layout version {uns['schema']}, this version of recart reads {SCHEMA}",
                mend="delete the prepared cohort; the next run prepares it anew",
                file=path.name,
            )
            raise InputError([problem])
        if in_memory is None:
            in_memory = 2 * sharers * size_in_memory(group) < free_memory()
        protein = group["obsm"].get("protein")
        columns = [str(name) for name in group["obs"].attrs["column-order"]]
        # without the index: a name for every cell, which nothing here reads
        cells = pd.DataFrame({name: read_elem(group["obs"][name]) for name in columns})
        var = read_elem(group["var"])
        rna: RowArray = read_csr(group["X"]) if in_memory else CsrOnDisk(group["X"])
        if protein is not None and in_memory:
            protein = protein[...]
    samples, patients = _readable(uns["samples"]), _readable(uns["patients"])
    cells["sample"] = _codes(cells["sample"], samples.index)
    cells["patient"] = _codes(cells["patient"], patients.index)
    return CohortStore(
        rna=rna,
        genes=tuple(map(str, var.index)),
        protein=protein,
        proteins=tuple(map(str, uns["proteins"])),
        protein_measured=np.asarray(uns["protein_measured"], dtype=bool),
        cells=cells,
        samples=samples,
        patients=patients,
        receptor=np.asarray(uns["receptor"]) if "receptor" in uns else None,
        clones=_readable(uns["clones"]).reset_index(drop=True) if "clones" in uns else None,
        normalised=bool(uns["normalised"]),
        dropped={_name(str(k)): int(v) for k, v in dict(uns["dropped"]).items()},
        path=None if in_memory else path.absolute(),
        gene_ids=tuple(map(str, var["ensembl"])) if "ensembl" in var else (),
    )


def _codes(of_cells: pd.Series[Any], names: pd.Index[Any]) -> np.ndarray[Any, Any]:
    """Row of each cell's sample or patient in its table."""
    rows = names.get_indexer(pd.Index(of_cells.cat.categories.astype(str))).astype(np.int32)
    codes: np.ndarray[Any, Any] = rows[of_cells.cat.codes.to_numpy()]
    return codes


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
