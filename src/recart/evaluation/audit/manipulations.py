"""What must not matter: four ways to change a store where its held-out patients stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.part_of_store import without_patients
from recart.data.rows import read_rows
from recart.data.store import CohortStore
from recart.evaluation.audit.outcome import Outcome

__all__ = ["MANIPULATIONS", "Manipulation"]

Manipulation = Callable[[CohortStore, Sequence[int], Outcome], CohortStore]
Array = np.ndarray[Any, Any]

_STRUCTURE: Final = ("patient", "start", "stop", "has_receptor")
_SEED: Final = 20_260_101
_MOST_GENES: Final = 200  # with a count, in a cell of random counts


def flip_labels(store: CohortStore, held_out: Sequence[int], outcome: Outcome) -> CohortStore:
    """Give every bag of these patients (codes) the other class."""
    bags = outcome.bags(store).bags
    table = bags.table.iloc[bags.of_patients(held_out)]
    known = table[table["label"] >= 0]
    return outcome.relabelled(store, {str(k): 1 - int(v) for k, v in known["label"].items()})


def scramble(store: CohortStore, held_out: Sequence[int], _outcome: Outcome) -> CohortStore:
    """Random counts, proteins and receptors in the cells of these patients, and other panels."""
    rng = np.random.default_rng(_SEED)
    own = np.isin(store.cells["patient"].to_numpy(), list(held_out))
    own_samples = np.isin(store.samples["patient"].to_numpy(), list(held_out))
    cells = store.cells.copy()
    for name in ("n_counts", "n_genes", "pct_mito", "car_umi"):
        if name in cells:
            values = cells[name].to_numpy().copy()
            values[own] = rng.integers(0, 100, int(own.sum()))
            cells[name] = values
    clone = cells["clone"].to_numpy().copy()
    clone[own] = rng.permutation(clone[own])
    cells["clone"] = clone
    measured = np.where(own_samples[:, None], ~store.protein_measured, store.protein_measured)
    has_receptor = store.samples["has_receptor"].to_numpy(dtype=bool)
    changed: dict[str, Any] = {
        "rna": _random_rows(store, own, rng),
        "cells": cells,
        "protein_measured": measured,
        "samples": store.samples.assign(has_receptor=has_receptor ^ own_samples),
    }
    if store.protein is not None:
        protein = np.array(store.protein[:])
        random = rng.integers(0, 500, (int(own.sum()), protein.shape[1]))
        protein[own] = random.astype(protein.dtype)
        changed["protein"] = protein
    if store.clones is not None:
        of_them = np.isin(store.clones["patient"].to_numpy(), list(held_out))
        known = store.clones["known"].to_numpy(dtype=bool)
        changed["clones"] = store.clones.assign(known=known ^ of_them)
        if store.receptor is not None:
            receptor = store.receptor.copy()
            receptor[of_them] = rng.normal(size=receptor[of_them].shape)
            changed["receptor"] = receptor
    return replace(store, **changed)


def remove(store: CohortStore, held_out: Sequence[int], _outcome: Outcome) -> CohortStore:
    """The cohort without these patients: no cell, no sample, no row of any table."""
    return without_patients(store, held_out)


def replace_metadata(store: CohortStore, held_out: Sequence[int], outcome: Outcome) -> CohortStore:
    """Other values in all that is said of these patients, their samples and their cells.

    All but the endpoint, which `flip_labels` changes, and who owns which cells.
    """
    rng = np.random.default_rng(_SEED)
    endpoint = outcome.data.endpoint
    own_samples = np.isin(store.samples["patient"].to_numpy(), list(held_out))
    own_patients = np.isin(np.arange(len(store.patients)), list(held_out))
    own = np.isin(store.cells["patient"].to_numpy(), list(held_out))
    cells = store.cells
    if "cell_type" in cells:
        cells = cells.assign(cell_type=_replaced(cells["cell_type"], own, rng))
    return replace(
        store,
        cells=cells,
        samples=_other_values(store.samples, own_samples, (*_STRUCTURE, endpoint), rng),
        patients=_other_values(store.patients, own_patients, (endpoint,), rng),
    )


MANIPULATIONS: Final[Mapping[str, Manipulation]] = {
    "labels flipped": flip_labels,
    "counts, proteins and receptors scrambled": scramble,
    "cells removed": remove,
    "metadata replaced": replace_metadata,
}


def _random_rows(store: CohortStore, own: Array, rng: np.random.Generator) -> sparse.csr_matrix:
    """The RNA with random counts in the rows `own`, of the type that it has."""
    rna: sparse.csr_matrix = read_rows(store.rna, np.arange(store.rna.shape[0]))
    genes = rna.shape[1]
    sizes = np.diff(rna.indptr)
    sizes[own] = rng.integers(0, min(genes, _MOST_GENES) + 1, int(own.sum()))
    start = np.concatenate([[0], np.cumsum(sizes)])
    data, indices = np.empty(start[-1], rna.dtype), np.empty(start[-1], rna.indices.dtype)
    for row in range(len(sizes)):
        at = slice(start[row], start[row + 1])
        if own[row]:
            indices[at] = np.sort(rng.choice(genes, sizes[row], replace=False))
            data[at] = rng.integers(1, 50, sizes[row])
        else:
            before = slice(rna.indptr[row], rna.indptr[row + 1])
            data[at], indices[at] = rna.data[before], rna.indices[before]
    return sparse.csr_matrix((data, indices, start), shape=rna.shape)


def _other_values(
    table: pd.DataFrame, rows: Array, kept: Sequence[str], rng: np.random.Generator
) -> pd.DataFrame:
    others = [name for name in table.columns if name not in kept]
    return table.assign(**{name: _replaced(table[name], rows, rng) for name in others})


def _replaced(column: pd.Series[Any], rows: Array, rng: np.random.Generator) -> pd.Series[Any]:
    """The column with other values in `rows`: numbers among numbers, new words among words."""
    count = int(rows.sum())
    if pd.api.types.is_bool_dtype(column):
        return column ^ rows
    new = column.astype(object)
    if pd.api.types.is_numeric_dtype(column):
        new[rows] = rng.integers(-1000, 1000, count)
        return new.astype(column.dtype)
    new[rows] = [f"replaced {i}" for i in rng.integers(0, 3, count)]
    return new
