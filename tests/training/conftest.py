"""Cohorts in situations that made users of totalVI report NaN, and in others that might.

The issues named are those of scvi-tools.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from recart.data.store import CohortStore
from recart.training.heads import BagLatents


def _counts(store: CohortStore) -> tuple[np.ndarray, np.ndarray]:
    assert store.protein is not None
    return store.rna[:].toarray().astype(np.int64), np.asarray(store.protein).astype(np.int64)


def _spoilt(
    store: CohortStore, rna: np.ndarray | None = None, protein: np.ndarray | None = None
) -> CohortStore:
    changes: dict[str, Any] = {}
    if rna is not None:
        changes["rna"] = sparse.csr_matrix(rna.astype(np.uint32))
    if protein is not None:
        changes["protein"] = protein.astype(np.uint32)
        names = [f"PROT{i}" for i in range(protein.shape[1])]
        changes["proteins"] = tuple(names)
    spoilt = replace(store, **changes)
    if protein is not None and protein.shape[1] != spoilt.protein_measured.shape[1]:
        measured = np.ones((len(store.samples), protein.shape[1]), dtype=bool)
        spoilt = replace(spoilt, protein_measured=measured)
    return spoilt


def _batch_of_cell(store: CohortStore) -> np.ndarray:
    return store.samples["batch"].to_numpy()[store.cells["sample"].to_numpy()]


def _panels_of_several_data_sets(store: CohortStore) -> CohortStore:
    """873: batches that lack some proteins, or all."""
    _, protein = _counts(store)
    measured = store.protein_measured.copy()
    batch = store.samples["batch"].to_numpy()
    measured[batch == "B1", :3] = False
    measured[batch == "B2"] = False
    protein[~measured[store.cells["sample"].to_numpy()]] = 0
    return replace(_spoilt(store, protein=protein), protein_measured=measured)


def _few_proteins(store: CohortStore, count: int) -> CohortStore:
    """1568: a background prior from next to no proteins."""
    return _spoilt(store, protein=_counts(store)[1][:, :count])


def _one_protein(store: CohortStore) -> CohortStore:
    return _few_proteins(store, 1)


def _four_proteins(store: CohortStore) -> CohortStore:
    return _few_proteins(store, 4)


def _hundreds_of_proteins(store: CohortStore) -> CohortStore:
    """1568: three hundred proteins, many cells at 0 in nearly all of them."""
    rng = np.random.default_rng(0)
    rate = rng.gamma(0.3, 5.0, 300) * rng.gamma(0.3, 3.0, (len(store.cells), 1))
    return _spoilt(store, protein=rng.poisson(rate))


def _cells_without_protein(store: CohortStore) -> CohortStore:
    """1568: cells whose proteins are all 0 have no two components."""
    _, protein = _counts(store)
    protein[::3] = 0
    return _spoilt(store, protein=protein)


def _constant_proteins(store: CohortStore) -> CohortStore:
    """1568: no spread to fit components to."""
    return _spoilt(store, protein=np.full_like(_counts(store)[1], 7))


def _sparse_protein(store: CohortStore) -> CohortStore:
    """3028: a protein seen once in one cell, and one never seen."""
    _, protein = _counts(store)
    protein[:, 2:4] = 0
    protein[5, 2] = 1
    return _spoilt(store, protein=protein)


def _batch_of_zero_protein(store: CohortStore) -> CohortStore:
    _, protein = _counts(store)
    protein[_batch_of_cell(store) == "B1"] = 0
    return _spoilt(store, protein=protein)


def _no_protein_counts_at_all(store: CohortStore) -> CohortStore:
    return _spoilt(store, protein=np.zeros_like(_counts(store)[1]))


def _empty_cells(store: CohortStore) -> CohortStore:
    rna, protein = _counts(store)
    rna[::4], protein[::8] = 0, 0
    return _spoilt(store, rna=rna, protein=protein)


def _a_sample_of_empty_cells(store: CohortStore) -> CohortStore:
    rna, _ = _counts(store)
    rna[store.sample_slice(0)] = 0
    return _spoilt(store, rna=rna)


def _counts_to_a_million(store: CohortStore) -> CohortStore:
    rna, protein = _counts(store)
    rna[3, 0], protein[4, 1] = 10**6, 10**6
    rna[5], protein[6] = 10**6, 10**6
    return _spoilt(store, rna=rna, protein=protein)


def _extreme_depths(store: CohortStore) -> CohortStore:
    """A patient at 10,000 times the depth of another, whose cells have one count each."""
    rna, _ = _counts(store)
    patient = store.cells["patient"].to_numpy()
    rna[patient == 0] *= 10**4
    rna[patient == 1] = np.eye(rna.shape[1], dtype=np.int64)[0]
    return _spoilt(store, rna=rna)


def _gene_in_one_cell(store: CohortStore) -> CohortStore:
    rna, _ = _counts(store)
    rna[:, 1:20] = 0
    rna[np.arange(19), np.arange(1, 20)] = 1
    return _spoilt(store, rna=rna)


def _batch_of_one_cell(store: CohortStore) -> CohortStore:
    """A sample of a single cell, alone in its batch."""
    start, stop = (int(store.samples.iloc[1][name]) for name in ("start", "stop"))
    kept = np.r_[np.arange(start + 1), np.arange(stop, len(store.cells))]
    samples = store.samples.copy()
    samples["start"] -= np.where(samples["start"] > start, stop - start - 1, 0)
    samples["stop"] -= np.where(samples["stop"] > start, stop - start - 1, 0)
    samples["batch"] = ["alone" if i == 1 else own for i, own in enumerate(samples["batch"])]
    return replace(
        store,
        rna=store.rna[:][kept],
        protein=np.asarray(store.protein)[kept],
        cells=store.cells.iloc[kept].reset_index(drop=True),
        samples=samples,
    )


SITUATIONS = [
    _panels_of_several_data_sets,
    _one_protein,
    _four_proteins,
    _hundreds_of_proteins,
    _cells_without_protein,
    _constant_proteins,
    _sparse_protein,
    _batch_of_zero_protein,
    _no_protein_counts_at_all,
    _empty_cells,
    _a_sample_of_empty_cells,
    _counts_to_a_million,
    _extreme_depths,
    _gene_in_one_cell,
    _batch_of_one_cell,
]


@pytest.fixture(params=SITUATIONS, ids=lambda own: own.__name__.strip("_"))
def situation(request: pytest.FixtureRequest) -> Callable[[CohortStore], CohortStore]:
    """Spoils a store of six patients; a test that asks for it runs in every situation."""
    spoil: Callable[[CohortStore], CohortStore] = request.param
    return spoil


@pytest.fixture
def sparse_and_extreme() -> Callable[[CohortStore], CohortStore]:
    """A protein seen once, one never, and counts to a million."""
    return lambda store: _counts_to_a_million(_sparse_protein(store))


def _state_bags(
    n: int, signal: float, seed: int, *, symmetric: bool = False, cells: int = 150
) -> tuple[BagLatents, np.ndarray]:
    """Four populations; responders' cells of the first are moved along the first dimension.

    `symmetric` moves them to either side: then no linear function of means sees it. The rest of a
    patient's cells is moved too, by an amount that has nothing to do with the response.
    """
    rng = np.random.default_rng(seed)
    centres = 3.0 * np.eye(4, 6)
    labels = np.arange(n) % 2
    latents = []
    for label in labels:
        kind = rng.choice(4, cells, p=rng.dirichlet(np.full(4, 20.0)))
        z = centres[kind] + rng.normal(0, 0.7, (cells, 6))
        z[kind != 0] += rng.normal(0, 0.5, 6)
        side = rng.choice([-1.0, 1.0]) if symmetric else 1.0
        z[kind == 0, 0] += side * signal * label
        latents.append(z.astype(np.float32))
    return (
        BagLatents(latents=latents, extras=np.zeros((n, 0)), extra_names=[], patients=np.arange(n)),
        labels,
    )


@pytest.fixture(scope="session")
def make_state_bags() -> Callable[..., tuple[BagLatents, np.ndarray]]:
    """Makes simulated bags for tests of heads."""
    return _state_bags
