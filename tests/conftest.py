"""What holds for every test: shapes are checked, one thread, real data only where it is given.

And a small random cohort, already in the store's form.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jaxtyping import install_import_hook
from scipy import sparse

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Checks every jaxtyping signature of the models at run time; must stand before they are imported.
_HOOK = install_import_hook(["recart.models", "recart.losses"], "beartype.beartype")

from recart.contracts import CellBatch, SparseRows  # noqa: E402 -- after the hook
from recart.data.bags import Admission, Bags, make_bags  # noqa: E402 -- after the hook
from recart.data.store import CohortStore  # noqa: E402

_UNSET = "RECART_REAL_DATA is not set: no folder of real data"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests on real data where there is none."""
    if item.get_closest_marker("real_data") and not os.environ.get("RECART_REAL_DATA"):
        pytest.skip(_UNSET)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data."""
    folder = os.environ.get("RECART_REAL_DATA")
    if not folder:
        pytest.skip(_UNSET)
    return Path(folder)


def _store(patients: int, cells: int, seed: int) -> CohortStore:
    rng = np.random.default_rng(seed)
    genes, proteins, receptor_dim = 40, 7, 6
    sizes = rng.integers(cells // 2, cells, size=2 * patients)
    stop = np.cumsum(sizes)
    patient = np.repeat(np.arange(patients), 2)
    sample_of_cell = np.repeat(np.arange(2 * patients), sizes)
    total = int(stop[-1])
    kind = rng.integers(0, 3, total)
    profile = rng.gamma(0.5, 1.0, (3, genes))
    protein_profile = rng.gamma(2.0, 10.0, (3, proteins))
    clones = 5 * patients
    clone = np.where(
        rng.random(total) < 0.5, 5 * patient[sample_of_cell] + rng.integers(0, 5, total), -1
    )
    receptor = rng.normal(size=(clones, receptor_dim)).astype(np.float32)
    rna = sparse.csr_matrix(rng.poisson(profile[kind]).astype(np.uint16))
    return CohortStore(
        rna=rna,
        genes=tuple(f"GENE{i}" for i in range(genes)),
        protein=rng.poisson(protein_profile[kind]).astype(np.uint16),
        proteins=tuple(f"PROT{i}" for i in range(proteins)),
        protein_measured=np.ones((2 * patients, proteins), dtype=bool),
        cells=pd.DataFrame(
            {
                "source": np.arange(total),
                "sample": sample_of_cell.astype(np.int32),
                "patient": patient[sample_of_cell].astype(np.int32),
                "clone": clone.astype(np.int32),
                "n_counts": np.asarray(rna.sum(axis=1)).ravel().astype(np.float32),
                "n_genes": np.diff(rna.indptr).astype(np.int32),
                "pct_mito": np.zeros(total, dtype=np.float32),
                "car_umi": np.zeros(total, dtype=np.int32),
            }
        ),
        samples=pd.DataFrame(
            {
                "patient": patient.astype(np.int32),
                "start": stop - sizes,
                "stop": stop,
                "has_receptor": True,
                "day": np.tile([-30.0, 30.0], patients),
                "batch": [f"B{i % 3}" for i in range(2 * patients)],
            },
            index=[f"S-{i:03d}" for i in range(2 * patients)],
        ),
        patients=pd.DataFrame(
            {"response": np.where(np.arange(patients) % 2, "R", "NR")},
            index=[f"P-{i:03d}" for i in range(patients)],
        ),
        receptor=receptor,
        clones=pd.DataFrame(
            {
                "patient": np.repeat(np.arange(patients), 5).astype(np.int32),
                "n_cells": np.bincount(clone[clone >= 0], minlength=clones),
                "has_alpha": True,
                "has_beta": True,
                "known": True,
            }
        ),
        normalised=False,
        dropped={},
    )


@pytest.fixture
def make_store() -> Callable[..., CohortStore]:
    """`make_store(patients=12, cells=40, seed=0)`: two samples per patient, three batches."""

    def make(patients: int = 12, cells: int = 40, seed: int = 0) -> CohortStore:
        return _store(patients, cells, seed)

    return make


@pytest.fixture
def make_all_bags() -> Callable[[CohortStore], Bags]:
    """One bag per patient, all samples admitted."""

    def make(store: CohortStore) -> Bags:
        labels = (store.patients["response"] == "R").astype(float)
        return make_bags(store, labels, unit="patient", admission=Admission())

    return make


@pytest.fixture
def take_member() -> Callable[[CellBatch, int], CellBatch]:
    """`take_member(batch, m)`: one member alone."""

    def take(batch: CellBatch, member: int) -> CellBatch:
        own = slice(member, member + 1)
        return replace(
            batch,
            x=SparseRows.from_dense(batch.x.dense()[own]),
            **{f.name: getattr(batch, f.name)[own] for f in fields(batch) if f.name != "x"},
        )

    return take
