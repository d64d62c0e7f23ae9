"""Tiny cohorts and held-out predictions for the evaluation tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.special import expit

from recart.data.bags import Bags
from recart.data.store import CohortStore

MakePredictions = Callable[..., pd.DataFrame]
MakeCohort = Callable[..., tuple[CohortStore, Bags]]


def _stratified_folds(y: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    fold = np.empty(len(y), dtype=int)
    for label in (0, 1):
        rows = rng.permutation(np.nonzero(y == label)[0])
        fold[rows] = np.arange(len(rows)) % k
    return fold


@pytest.fixture
def make_predictions() -> MakePredictions:
    """Predictions of independent scores: logit = effect * (y - 1/2) + normal noise."""

    def make(
        n: int = 40,
        effect: float = 2.0,
        repeats: int = 1,
        members: int = 1,
        k: int = 5,
        seed: int = 0,
        bags_per_patient: int = 1,
    ) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        patient_y = (np.arange(n) % 2 == 0).astype(int)
        y = np.repeat(patient_y, bags_per_patient)
        owner = np.repeat(np.arange(n), bags_per_patient)
        own = np.repeat(rng.normal(size=n), bags_per_patient)
        frames = []
        for repeat in range(repeats):
            fold = _stratified_folds(patient_y, k, rng)[owner]
            for member in range(members):
                logits = effect * (y - 0.5) + own + 0.1 * rng.normal(size=len(y))
                frames.append(
                    pd.DataFrame(
                        {
                            "bag": [f"B{i:03d}" for i in range(len(y))],
                            "patient": [f"P{i:03d}" for i in owner],
                            "repeat": repeat,
                            "fold": fold,
                            "member": [f"r{repeat}f{f}s{member}" for f in fold],
                            "y": y,
                            "logit": logits,
                            "probability": expit(logits),
                        }
                    )
                )
        return pd.concat(frames, ignore_index=True)

    return make


@pytest.fixture
def make_cohort() -> MakeCohort:
    """A store of two cell kinds told apart by ten genes each, one sample a patient.

    `composition` shifts the share of the first kind with the label, `state` the first gene block of
    all cells, `depth` the library size, `batch` the share of positive patients in batch B1,
    `clinical` their age in standard deviations. Ages and stages are missing here and there.
    """

    def make(
        patients: int = 24,
        cells: int = 60,
        genes: int = 60,
        composition: float = 0.0,
        state: float = 0.0,
        depth: float = 0.0,
        batch: float = 0.0,
        clinical: float = 0.0,
        proteins: int = 3,
        seed: int = 0,
    ) -> tuple[CohortStore, Bags]:
        rng = np.random.default_rng(seed)
        y = (np.arange(patients) % 2 == 0).astype(int)
        blocks, kinds = [], []
        for label in y:
            first = rng.random(cells) < np.clip(0.5 + composition * (label - 0.5), 0.02, 0.98)
            rate = np.full((cells, genes), 0.6)
            rate[first, :10] *= 6
            rate[~first, 10:20] *= 6
            rate[:, 20:30] *= np.exp(state * label)
            blocks.append(rng.poisson(rate * np.exp(depth * label)))
            kinds.append(np.where(first, "one", "two"))
        rna = sparse.csr_matrix(np.vstack(blocks).astype(np.int32))
        sample = np.repeat(np.arange(patients), cells)
        starts = np.arange(patients) * cells
        in_b1 = rng.random(patients) < 0.5 + batch * (y - 0.5)
        age = rng.normal(size=patients) + clinical * y
        stage = rng.choice(np.array(["I", "II", None], dtype=object), patients)
        age[3] = np.nan
        measured = np.ones((patients, proteins), dtype=bool)
        measured[::5, 0] = False
        protein = rng.poisson(5, size=(rna.shape[0], proteins)).astype(np.float32)
        store = CohortStore(
            rna=rna,
            genes=tuple(f"G{i}" for i in range(genes)),
            protein=protein * measured[sample],
            proteins=tuple(f"A{i}" for i in range(proteins)),
            protein_measured=measured,
            cells=pd.DataFrame(
                {
                    "sample": sample,
                    "patient": sample,
                    "clone": np.where(rng.random(len(sample)) < 0.5, 0, -1),
                    "n_counts": np.asarray(rna.sum(axis=1)).ravel(),
                    "n_genes": np.asarray((rna > 0).sum(axis=1)).ravel(),
                    "pct_mito": rng.random(len(sample)),
                    "cell_type": np.concatenate(kinds),
                }
            ),
            samples=pd.DataFrame(
                {
                    "patient": np.arange(patients),
                    "start": starts,
                    "stop": starts + cells,
                    "batch": np.where(in_b1, "B1", "B2"),
                },
                index=[f"S{i}" for i in range(patients)],
            ),
            patients=pd.DataFrame(
                {"response": y, "age": age, "stage": stage},
                index=[f"P{i}" for i in range(patients)],
            ),
            receptor=None,
            clones=None,
            normalised=False,
            dropped={},
        )
        bags = Bags(
            table=pd.DataFrame(
                {"patient": np.arange(patients), "label": y, "n_cells": cells},
                index=[f"P{i}" for i in range(patients)],
            ),
            slices=tuple((slice(int(start), int(start) + cells),) for start in starts),
        )
        return store, bags

    return make
