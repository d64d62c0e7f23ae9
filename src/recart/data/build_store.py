"""From a checked `Cohort` to a `CohortStore`: sort, shuffle inside samples, fold in receptors.

Nothing here is fitted to data: each sample comes out the same whatever other patients are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.cohort import HAS_TCR, Cohort, said_to_be_sequenced
from recart.data.names.gene_map import ensembl_id, known_symbol
from recart.data.receptors.clonotypes import Clonotypes
from recart.data.receptors.invariant import is_invariant, receptor_texts
from recart.data.rows import pieces, read_rows
from recart.data.store import CohortStore
from recart.problems import InputError, Problem

__all__ = ["Names", "build_store", "separate_car", "smallest_type"]


class Names(Protocol):
    """What stands for the ids of patients, samples and batches."""

    def patient(self, patient: str) -> str:
        """Name of a patient."""

    def sample(self, sample: str) -> str:
        """Name of a sample."""

    def batch(self, batch: str) -> str:
        """Name of a batch."""

    def receptor(self, sequence: str) -> str:
        """Name of a receptor by its genes and sequences: equal receptors have equal names."""


def separate_car(
    cohort: Cohort, car_genes: Sequence[str]
) -> tuple[Cohort, np.ndarray[Any, np.dtype[np.int64]]]:
    """Take the CAR transgenes out of the RNA; return the rest and their summed counts per cell.

    Raises
    ------
    InputError
        If a named transgene is not among the genes.
    """
    from difflib import get_close_matches

    names = cohort.genes.index.astype(str)
    missing = [gene for gene in car_genes if gene not in names]
    if missing:
        raise InputError(
            Problem(
                code="E-CAR-001",
                what="CAR transgene is not among the genes",
                mend=f"nearest: {get_close_matches(gene, names, 3) or 'none'}; set data.car_genes",
                file=cohort.source.get("rna", ""),
                feature=gene,
            )
            for gene in missing
        )
    is_car = names.isin(list(car_genes))
    counts = np.asarray(cohort.rna[:, np.flatnonzero(is_car)].sum(axis=1)).ravel()
    rest = replace(
        cohort, rna=cohort.rna[:, np.flatnonzero(~is_car)], genes=cohort.genes.loc[~is_car]
    )
    return rest, np.ceil(counts).astype(np.int64)  # of normalised values any above 0 is one


def smallest_type(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Counts as uint16 or int32 where they fit."""
    largest = matrix.data.max(initial=0)
    return matrix.astype(np.uint16 if largest < 2**16 else np.int32)


def build_store(
    cohort: Cohort,
    *,
    car_umi: np.ndarray[Any, Any] | None,
    clonotypes: Clonotypes | None,
    bcr: Clonotypes | None = None,
    receptor: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None,
    pseudonyms: Names,
    normalised: bool,
) -> CohortStore:
    """Sort cells by (patient, sample), shuffle inside each sample, replace ids by pseudonyms."""
    samples = cohort.samples.assign(_row=np.arange(len(cohort.samples)))
    samples.index = samples.index.astype(str)
    names, owners = samples.index.to_numpy(str), samples["patient"].to_numpy(str)
    samples = samples.iloc[np.lexsort((names, owners))]
    present = samples.index.isin(cohort.cells["sample"].astype(str))
    samples = samples.loc[present]
    patient_ids = pd.Index(sorted(samples["patient"].astype(str).unique()))

    sample_of_cell = samples.index.get_indexer(pd.Index(cohort.cells["sample"].astype(str)))
    order = _order(sample_of_cell, list(samples.index))
    sizes = np.bincount(sample_of_cell, minlength=len(samples))
    stop = np.cumsum(sizes)
    patient_of_sample = patient_ids.get_indexer(pd.Index(samples["patient"].astype(str))).astype(
        np.int32
    )

    rna = _sorted(sparse.csr_matrix(cohort.rna), order, normalised)
    none = np.full(len(order), -1, dtype=np.int32)
    clone, bcr_clone = (none if own is None else own.of_cell for own in (clonotypes, bcr))
    cells = pd.DataFrame(
        {
            "source": order.astype(np.int64),
            "sample": sample_of_cell[order].astype(np.int32),
            "patient": patient_of_sample[sample_of_cell[order]],
            "clone": clone[order].astype(np.int32),
            "bcr_clone": bcr_clone[order].astype(np.int32),
            **_quality(rna, cohort.genes.index, normalised),
        }
    )
    if car_umi is not None:  # no transgene was named: unknown, not negative
        cells["car_umi"] = car_umi[order].astype(np.int32)
    if "cell_type" in cohort.cells:
        cells["cell_type"] = pd.Categorical(cohort.cells["cell_type"].astype(str).to_numpy()[order])

    has_receptor = np.bincount(cells["sample"][cells["clone"] >= 0], minlength=len(samples)) > 0
    has_receptor |= said_to_be_sequenced(samples, HAS_TCR)
    source_rows = samples["_row"].to_numpy()
    measured = cohort.protein_measured
    table = samples.drop(columns=["_row", "patient"]).assign(
        patient=patient_of_sample, start=stop - sizes, stop=stop, has_receptor=has_receptor
    )
    if "batch" in table:
        table["batch"] = [pseudonyms.batch(str(name)) for name in table["batch"]]
    table.index = pd.Index([pseudonyms.sample(name) for name in samples.index])
    patients = cohort.patients.copy()
    patients.index = patients.index.astype(str)
    patients = patients.reindex(patient_ids)
    patients.index = pd.Index([pseudonyms.patient(name) for name in patient_ids])
    clones = None
    if clonotypes is not None:
        clones = _clone_table(clonotypes, patient_ids, receptor, pseudonyms)
    return CohortStore(
        rna=rna,
        genes=tuple(map(str, cohort.genes.index)),
        protein=None if cohort.protein is None else _small(cohort.protein[order]),
        proteins=tuple(cohort.proteins),
        protein_measured=(
            np.zeros((len(samples), 0), bool) if measured is None else measured[source_rows]
        ),
        cells=cells,
        samples=table,
        patients=patients,
        receptor=None if receptor is None else receptor[0].astype(np.float32),
        clones=clones,
        normalised=normalised,
        dropped=dict(cohort.dropped),
        gene_ids=_ids(cohort.genes),
    )


def _ids(genes: pd.DataFrame) -> tuple[str, ...]:
    """Ensembl ids where the cohort came with them."""
    return tuple(map(ensembl_id, genes["ensembl"].astype(str))) if "ensembl" in genes else ()


def _sorted(
    rna: sparse.csr_matrix, order: np.ndarray[Any, Any], normalised: bool
) -> sparse.csr_matrix:
    """Rows in the given order and the smallest type; beside the input only the result is held."""
    parts = []
    for rows in pieces(order):
        part = rna[rows]
        # stored zeros and split entries, which some files hold, would count as genes
        part.sum_duplicates()
        part.eliminate_zeros()
        parts.append(part.astype(np.float32) if normalised else smallest_type(part))
    start = np.concatenate(
        [[0], np.cumsum(np.concatenate([np.diff(part.indptr) for part in parts]))]
    )
    data = np.empty(start[-1], dtype=np.result_type(*{part.dtype for part in parts}))
    indices = np.empty(start[-1], dtype=np.int32)
    at = 0
    while parts:
        part = parts.pop(0)
        own = slice(at, at + part.nnz)
        data[own], indices[own] = part.data, part.indices
        at += part.nnz
    return sparse.csr_matrix((data, indices, start), shape=rna.shape)


def _order(sample_of_cell: np.ndarray[Any, Any], names: list[str]) -> np.ndarray[Any, Any]:
    """Cells by sample; inside a sample shuffled by a seed of the sample's own name."""
    key = np.empty(len(sample_of_cell))
    for code, name in enumerate(names):
        own = np.flatnonzero(sample_of_cell == code)
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        key[own] = np.random.default_rng(seed).permutation(len(own))
    return np.lexsort((key, sample_of_cell))


def _quality(
    rna: sparse.csr_matrix, genes: pd.Index[str], normalised: bool
) -> dict[str, np.ndarray[Any, Any]]:
    is_mito = np.flatnonzero([known_symbol(name).upper().startswith("MT-") for name in genes])
    sums = []
    for rows in pieces(np.arange(rna.shape[0])):  # a sum holds its counts once more, as wide types
        part = read_rows(rna, rows)
        sums.append(np.asarray(np.hstack([part.sum(axis=1), part[:, is_mito].sum(axis=1)])))
    total, mito = np.concatenate(sums).T
    total = total.astype(np.float32)
    share = np.divide(mito, total, out=np.zeros_like(total), where=total > 0)
    return {
        "n_counts": total,
        "n_genes": np.diff(rna.indptr).astype(np.int32),
        # the share of normalised values is no share of molecules
        "pct_mito": np.full_like(total, np.nan) if normalised else 100 * share.astype(np.float32),
    }


def _small(protein: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return protein.astype(np.uint16 if protein.max(initial=0) < 2**16 else np.int32)


def _clone_table(
    clonotypes: Clonotypes,
    patient_ids: pd.Index[str],
    receptor: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None,
    names: Names,
) -> pd.DataFrame:
    """The clone table without sequences, which stay in the input files: keyed names stand for them.

    The names say which patients share a receptor, and nothing else.
    """
    table = clonotypes.table
    known = np.zeros(len(table), bool) if receptor is None else receptor[1]
    return pd.DataFrame(
        {
            "patient": patient_ids.get_indexer(pd.Index(table["patient"].astype(str))).astype(
                np.int32
            ),
            "n_cells": table["n_cells"].to_numpy(),
            "has_alpha": table["has_alpha"].to_numpy(),
            "has_beta": table["has_beta"].to_numpy(),
            "known": known,
            "receptor": [names.receptor(text) if text else "" for text in receptor_texts(table)],
            "invariant": is_invariant(table),
        }
    )
