"""The file of embedded cells, written part by part: AnnData or MuData, never whole in memory."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, final

import h5py
import numpy as np
import pandas as pd

from recart.data.cohort import Cohort
from recart.inference.new_patients import NewPatients
from recart.inference.outputs.exported import ExportedOutputs

__all__ = ["CellFile"]

_LAYERS_OF_PROTEIN = ("denoised_protein", "protein_foreground_prob")
_ROWS = 1024  # of a chunk of the file
_ENTRIES = 1 << 18  # of a chunk of an index array
_HEAD = 512  # bytes before the HDF5 file, in which mudata says that it is MuData


@final
class CellFile:
    """What grows with the cells is appended; tables of cells are kept, and written at the end.

    Parameters
    ----------
    path
        The file, `.h5ad` or `.h5mu`; it is made anew.
    about
        What `uns["recart"]` says of the model.
    """

    def __init__(self, path: Path, about: dict[str, str]) -> None:
        self.path = path
        self.about = about
        self._mudata = path.suffix == ".h5mu"
        self._file = h5py.File(path, "w", userblock_size=_HEAD if self._mudata else 0)
        self._rna = self._file.require_group("mod/rna") if self._mudata else self._file
        self._obs: list[pd.DataFrame] = []
        self._genes = pd.DataFrame()
        self._proteins: list[str] = []
        self._measured: dict[str, bool] = {}  # proteins that were measured in all cells so far
        self._uns: dict[str, Any] = dict(about)

    def add(self, cohort: Cohort, new: NewPatients, exported: ExportedOutputs | None) -> None:
        """Append cells, in the order in which they were read."""
        index = cohort.cells.index
        self._genes = cohort.genes.copy()
        self._uns["reference_member"] = new.reference
        self._obs.append(_obs(cohort, new))
        _append(self._rna, "X", cohort.rna)
        names = frozenset({"latents"}) if exported is None else exported.names
        if "latents" in names:
            _append(self._rna, "obsm/X_recart", new.latents)
        if cohort.protein is not None:
            self._proteins = list(cohort.proteins)
            counts = _protein(cohort)
            if self._mudata:
                _append(self._file, "mod/prot/X", counts)
            else:
                table = pd.DataFrame(counts, index=index, columns=cohort.proteins)
                _append(self._rna, "obsm/protein", table)
        if new.attribution is not None:
            self._uns["attribution"] = new.attribution.method
        if exported is not None:
            self._add_outputs(cohort, exported)

    def finish(self) -> None:
        """Write the tables, and close."""
        whole = self.path.with_name(f"{self.path.stem}.tables{self.path.suffix}")
        self._without_measured()
        for name in ("X", "layers/denoised_rna"):
            if name in self._rna and "indptr" in self._rna[name]:
                _settle(self._rna[name])
        try:
            self._write_tables(whole)
            with h5py.File(whole, "r") as file:
                _fill(self._file, file)
            if self._mudata and "obsm/X_recart" in self._rna:
                self._file.copy(self._rna["obsm/X_recart"], self._file["obsm"], "X_recart")
            self.close()
            if self._mudata:
                with whole.open("rb") as tables, self.path.open("r+b") as written:
                    written.write(tables.read(_HEAD))
        finally:
            whole.unlink(missing_ok=True)
            self.close()

    def close(self) -> None:
        """Close without finishing."""
        self._file.close()

    def _add_outputs(self, cohort: Cohort, exported: ExportedOutputs) -> None:
        if "denoised_rna" in exported.names:
            self._genes["recart_modelled"] = self._genes.index.isin(list(exported.outputs.genes))
            exported.write_rna(self._rna.require_group("layers"), list(cohort.genes.index))
        tables = exported.tables()
        if "protein_measured" in tables:
            all_measured = tables["protein_measured"].all()
            for name, own in all_measured.items():
                self._measured[str(name)] = self._measured.get(str(name), True) and bool(own)
        for name, table in tables.items():
            _append(self._rna, f"obsm/{name}", table.set_axis(cohort.cells.index))
            if self._mudata and name in _LAYERS_OF_PROTEIN and self._proteins:
                # a protein that the model does not know is NaN
                known = table.reindex(columns=self._proteins).to_numpy(dtype="float32")
                _append(self._file, f"mod/prot/layers/{name}", known)

    def _without_measured(self) -> None:
        """Take proteins that every sample measured out of the imputed ones."""
        if "obsm/imputed_protein" not in self._rna:
            return
        imputed = self._rna["obsm/imputed_protein"]
        kept = [name for name in imputed.attrs["column-order"] if not self._measured[str(name)]]
        for name in imputed.attrs["column-order"]:
            if name not in kept:
                del imputed[name]
        imputed.attrs["column-order"] = np.array(kept, dtype=h5py.string_dtype())

    def _write_tables(self, path: Path) -> None:
        import anndata

        obs = pd.concat(self._obs)
        for column in obs.select_dtypes("object").columns:  # parts had other words
            obs[column] = _words(obs[column])
        adata = anndata.AnnData(obs=obs, var=self._genes, uns={"recart": self._uns})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on string columns that are written as they are
            if not self._mudata:
                adata.write_h5ad(path)
                return
            import mudata

            parts = {"rna": adata}
            if self._proteins:
                names = pd.DataFrame(index=pd.Index(self._proteins, dtype=object))
                parts["prot"] = anndata.AnnData(obs=obs[[]].copy(), var=names)
            bundle = mudata.MuData(parts)
            bundle.obs["sample"] = obs["sample"]
            bundle.obs["patient"] = obs["patient"]
            bundle.uns["recart"] = self._uns
            bundle.write_h5mu(path)


def _protein(cohort: Cohort) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Counts of the cells, NaN where their sample was not measured, as readers take it."""
    counts = np.asarray(cohort.protein, dtype=np.float32)
    if cohort.protein_measured is None or cohort.protein_measured.all():
        return counts
    of_sample = cohort.samples.index.get_indexer(pd.Index(cohort.cells["sample"]))
    return np.where(cohort.protein_measured[of_sample], counts, np.float32(np.nan))


def _obs(cohort: Cohort, new: NewPatients) -> pd.DataFrame:
    """Every cell's own columns, those of its sample and patient, and what was said of them."""
    obs = cohort.cells.join(cohort.samples, on="sample", rsuffix="_of_sample")
    obs = obs.join(cohort.patients, on="patient", rsuffix="_of_patient")
    of_bag = new.patients.reindex(obs[new.unit].astype(str).to_numpy())
    obs["recart_probability"] = of_bag["probability"].to_numpy(dtype=float)
    for told in ("flags", "reasons"):
        if told in of_bag:
            obs[f"recart_{told}"] = of_bag[told].fillna("").astype(str).to_numpy()
    if new.expansion is not None:
        obs["recart_expansion"] = new.expansion
    if new.clone_size is not None:
        obs["recart_clone_size"] = new.clone_size
    if new.cell_flags is not None:
        for name, values in new.cell_flags.items():
            obs[str(name)] = values.to_numpy()
    if new.attribution is not None:
        predicted = obs["recart_probability"].notna()  # a refusal has nothing that sums to a score
        obs["recart_attribution"] = np.where(predicted, new.attribution.cells, np.float32(np.nan))
    for column in obs.select_dtypes("object").columns:  # small until the end
        obs[column] = _words(obs[column], cohort.levels.get(str(column), ()))
    return obs


def _words(values: pd.Series[Any], levels: tuple[str, ...] = ()) -> pd.Series[Any]:
    """Values as the words of a category, ordered where they are `levels`; missing stays missing."""
    words = values.map(str, na_action="ignore")
    if levels and words.dropna().isin(levels).all():
        return words.astype(pd.CategoricalDtype(list(levels), ordered=True))
    return words.astype("category")


def _append(group: h5py.Group, name: str, values: Any) -> None:
    """Make an element of an AnnData from its first rows, or add further rows to it."""
    from anndata.io import sparse_dataset, write_elem
    from scipy import sparse

    parent, _, key = name.rpartition("/")
    group = group.require_group(parent) if parent else group
    if sparse.issparse(values):
        if key in group:
            sparse_dataset(group[key]).append(values)
        else:
            # a large cohort has more than 2^31 non-zeros, which is not known before the end
            write_elem(group, key, values, dataset_kwargs={"indptr_dtype": np.dtype(np.int64)})
        return
    if key not in group:
        wide = () if isinstance(values, pd.DataFrame) else values.shape[1:]
        layout = {
            "maxshape": (None, *wide),
            "chunks": (_ROWS, *(max(1, own) for own in wide)),
        }
        write_elem(group, key, values, dataset_kwargs=layout)
        return
    if isinstance(values, pd.DataFrame):
        of_index = group[key].attrs["_index"]
        for column in values.columns:
            _extend(group[key][str(column)], values[column].to_numpy())
        _extend(group[key][of_index], values.index.to_numpy(dtype=object))
        return
    _extend(group[key], values)


def _extend(dataset: h5py.Dataset, values: Any) -> None:
    rows = dataset.shape[0]
    dataset.resize(rows + len(values), axis=0)
    dataset[rows:] = values


def _settle(matrix: h5py.Group) -> None:
    """Give both index arrays of a CSR matrix one type, now that it is known which holds them."""
    kind = np.int32 if len(matrix["data"]) < np.iinfo(np.int32).max else np.int64
    for name in ("indptr", "indices"):
        given = matrix[name]
        if given.dtype == kind:
            continue
        matrix.move(name, "given")
        made = matrix.create_dataset(name, given.shape, kind, maxshape=(None,), chunks=(_ENTRIES,))
        for start in range(0, len(given), _ENTRIES):
            made[start : start + _ENTRIES] = given[start : start + _ENTRIES]
        del matrix["given"]


def _fill(target: h5py.Group, source: h5py.Group) -> None:
    """Copy into `target` what only `source` has, and all its attributes."""
    for name, value in source.attrs.items():
        target.attrs[name] = value
    for key in source:
        if key not in target:
            source.copy(key, target)
        elif key != "X" and isinstance(source[key], h5py.Group):
            _fill(target[key], source[key])
