"""Gross shifts of new patients' data, and files that lack a part of it honestly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import sparse
from shift_members import BEFORE

from recart.data.bags import Admission
from recart.data.store import CohortStore

Shift = Callable[[CohortStore, np.random.Generator], CohortStore]


def log_normalised(store: CohortStore, _: np.random.Generator) -> CohortStore:
    """log1p of counts per 10,000, given as counts."""
    rna = store.rna[:].astype(np.float32).tocsr()
    total = np.maximum(np.asarray(rna.sum(axis=1)).ravel(), 1)
    rna.data = np.log1p(rna.data / np.repeat(total, np.diff(rna.indptr)) * 1e4)
    return replace(store, rna=rna)


def shuffled_genes(store: CohortStore, rng: np.random.Generator) -> CohortStore:
    """Names of genes in another order than their counts."""
    return replace(
        store, genes=tuple(np.array(store.genes, dtype=object)[rng.permutation(len(store.genes))])
    )


def mouse_symbols(store: CohortStore, _: np.random.Generator) -> CohortStore:
    """Genes as mice have them: Cd3e for CD3E."""
    return replace(store, genes=tuple(name.capitalize() for name in store.genes))


def shallower(store: CohortStore, rng: np.random.Generator) -> CohortStore:
    """One in five RNA counts."""
    rna = store.rna[:].tocsr()
    data = rng.binomial(rna.data.astype(np.int64), 0.2).astype(rna.data.dtype)
    thin = sparse.csr_matrix((data, rna.indices, rna.indptr), shape=rna.shape)
    thin.eliminate_zeros()
    return replace(store, rna=thin)


def protein_zeros(store: CohortStore, _: np.random.Generator) -> CohortStore:
    """Proteins that were not measured, given as zeros that were."""
    return replace(store, protein=np.zeros_like(store.protein))


def swapped_proteins(store: CohortStore, rng: np.random.Generator) -> CohortStore:
    """Each sample has the antibody library of the next."""
    protein = np.array(store.protein)
    slices = [store.sample_slice(s) for s in range(len(store.samples))]
    for own, other in zip(slices, [*slices[1:], slices[0]], strict=True):
        rows = rng.choice(np.arange(other.start, other.stop), own.stop - own.start)
        protein[own] = store.protein[rows]
    return replace(store, protein=protein)


def said_to_be_before(store: CohortStore, _: np.random.Generator) -> CohortStore:
    """Samples of blood before infusion, if one believes the table."""
    return replace(store, samples=store.samples.assign(timepoint="pre", tissue="PB"))


def fewer_genes(share: float) -> Shift:
    """A random part of the genes is not in the file."""

    def hide(store: CohortStore, rng: np.random.Generator) -> CohortStore:
        names = np.array(store.genes, dtype=object)
        names[rng.choice(len(names), round(share * len(names)), replace=False)] = "absent"
        return replace(store, genes=tuple(names))

    return hide


def fewer_proteins(share: float) -> Shift:
    """A random part of the panel was not stained."""

    def hide(store: CohortStore, rng: np.random.Generator) -> CohortStore:
        measured, panel = np.array(store.protein_measured), len(store.proteins)
        measured[:, rng.choice(panel, round(share * panel), replace=False)] = False
        return replace(store, protein_measured=measured)

    return hide


def as_it_is(store: CohortStore, _: np.random.Generator) -> CohortStore:
    """Nothing is changed."""
    return store


_BLOOD = Admission(timepoints=["post"], tissues=["PB"])
_MARROW = Admission(timepoints=["post"], tissues=["BM"])
AS_IT_IS = "honest"
HONEST: dict[str, tuple[Shift, Admission]] = {
    AS_IT_IS: (as_it_is, BEFORE),
    "10 % of genes absent": (fewer_genes(0.1), BEFORE),
    "25 % of genes absent": (fewer_genes(0.25), BEFORE),
    "half the panel": (fewer_proteins(0.5), BEFORE),
    "no proteins": (fewer_proteins(1.0), BEFORE),
}
SHIFTS: dict[str, tuple[Shift, Admission]] = {
    "log-normalised input": (log_normalised, BEFORE),
    "shuffled genes": (shuffled_genes, BEFORE),
    "mouse symbols": (mouse_symbols, BEFORE),
    "other tissue": (as_it_is, _MARROW),
    "other tissue, not said": (said_to_be_before, _MARROW),
    "5x shallower": (shallower, BEFORE),
    "wrong time point": (as_it_is, _BLOOD),
    "wrong time point, not said": (said_to_be_before, _BLOOD),
    "protein zeros for missing": (protein_zeros, BEFORE),
    "swapped ADT": (swapped_proteins, BEFORE),
}
