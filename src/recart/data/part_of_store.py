"""A part of a store: some of its patients, some of their cells, as a store of its own in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recart.data.rows import read_rows
from recart.data.store import CohortStore

__all__ = ["first_cells", "without_patients"]

Rows = np.ndarray[Any, np.dtype[np.intp]]


def first_cells(store: CohortStore, count: int | None) -> CohortStore:
    """The first `count` cells of each sample; None takes all.

    Cells are shuffled inside each sample, so that these are a random draw, and the same one
    whatever other samples are there.
    """
    if count is None:
        rows = np.arange(len(store.cells))
    else:
        starts, stops = (store.samples[name].to_numpy() for name in ("start", "stop"))
        ends = np.minimum(stops, starts + count)
        rows = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
    return _part(store, rows, np.ones(len(store.patients), dtype=bool))


def without_patients(store: CohortStore, patients: Sequence[int]) -> CohortStore:
    """The store as if these patients (codes) had never been in the cohort; codes close the gaps."""
    keep = np.ones(len(store.patients), dtype=bool)
    keep[list(patients)] = False
    rows = np.flatnonzero(keep[store.cells["patient"].to_numpy()])
    return _part(store, rows, keep)


def _part(store: CohortStore, rows: Rows, keep: np.ndarray[Any, np.dtype[np.bool_]]) -> CohortStore:
    kept_samples = keep[store.samples["patient"].to_numpy()]
    of_patient, of_sample = _new_codes(keep), _new_codes(kept_samples)
    cells = store.cells.iloc[rows].reset_index(drop=True)
    sample = of_sample[cells["sample"].to_numpy()].astype(np.int32)
    cells["sample"] = sample
    cells["patient"] = of_patient[cells["patient"].to_numpy()].astype(np.int32)
    stop = np.cumsum(np.bincount(sample, minlength=int(kept_samples.sum())))
    samples = store.samples.loc[kept_samples].assign(start=np.r_[0, stop[:-1]], stop=stop)
    samples["patient"] = of_patient[samples["patient"].to_numpy()].astype(np.int32)
    if "bcr_clone" in cells:
        _, closed = np.unique(np.r_[-1, cells["bcr_clone"].to_numpy()], return_inverse=True)
        cells["bcr_clone"] = (closed[1:] - 1).astype(np.int32)
    clones, receptor = store.clones, store.receptor
    if clones is not None:
        kept_clones = keep[clones["patient"].to_numpy()]
        of_clone = np.r_[_new_codes(kept_clones), -1]  # the last for cells without a clone
        cells["clone"] = of_clone[cells["clone"].to_numpy()].astype(np.int32)
        clones = clones.loc[kept_clones].reset_index(drop=True)
        clones["patient"] = of_patient[clones["patient"].to_numpy()].astype(np.int32)
        receptor = None if receptor is None else receptor[kept_clones]
    return replace(
        store,
        rna=read_rows(store.rna, rows),
        protein=None if store.protein is None else read_rows(store.protein, rows),
        protein_measured=store.protein_measured[kept_samples],
        cells=cells,
        samples=samples,
        patients=store.patients.loc[keep],
        receptor=receptor,
        clones=clones,
        path=None,
    )


def _new_codes(keep: np.ndarray[Any, np.dtype[np.bool_]]) -> np.ndarray[Any, Any]:
    """New number of each row that is kept, -1 of the others."""
    return np.where(keep, np.cumsum(keep) - 1, -1)
