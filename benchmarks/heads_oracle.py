"""What an analyst would score who knows which cells carry the response, and what they do.

Nothing is fitted: each score reads the true carrying cells of the admitted samples, in the one
quantity that their mechanism moves, in its true direction.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recart.data.cohort import Cohort
from recart.data.simulate import Truth
from recart.data.simulate.populations import POPULATIONS, SHIFTS

__all__ = ["oracles"]

Array = np.ndarray[Any, np.dtype[Any]]


def oracles(cohort: Cohort, truth: Truth, mechanism: str, decision_day: float) -> dict[str, Array]:
    """(patient) scores by oracle, in the order of the cohort's patients.

    `latent` is the log likelihood ratio given the number that the simulator drew for the patient:
    no count of cells can know it better. `cells` knows the carrying cells that were sampled.
    """
    none = np.zeros(len(cohort.patients))
    if mechanism == "null":
        return {"cells": none, "latent": none}
    latent = "oracle_before" if mechanism == "composition" else mechanism
    scores = truth.patients.loc[cohort.patients.index, latent].to_numpy(dtype=float)
    return {"cells": _of_cells(cohort, truth, mechanism, decision_day), "latent": scores}


def _of_cells(cohort: Cohort, truth: Truth, mechanism: str, decision_day: float) -> Array:
    samples = cohort.samples
    row = samples.index.get_indexer(cohort.cells["sample"])
    admitted = (samples["day"] <= decision_day).to_numpy()[row]
    after = (samples["timepoint"] == "post").to_numpy()[row]
    owner = cohort.patients.index.get_indexer(samples["patient"])[row]
    population = truth.cells["population"].to_numpy()
    carries = truth.cells[mechanism].to_numpy() & admitted
    score = np.full(len(cohort.patients), np.nan)
    for patient in range(len(score)):
        own = np.flatnonzero((owner == patient) & admitted)
        cells = own[carries[own]]
        if mechanism == "composition":
            score[patient] = _shifted_shares(population[own])
        elif mechanism == "rare_population":
            score[patient] = _log_share(len(cells), len(own))
        elif mechanism == "clonal_expansion":
            later = own[after[own]]
            if len(later):
                score[patient] = _log_share(int(after[cells].sum()), len(later))
        elif mechanism == "pre_to_post":
            genes = truth.markers[mechanism]
            monocytes = own[population[own] == "CD14 Mono"]
            parts = [monocytes[after[monocytes] == late] for late in (True, False)]
            if all(map(len, parts)):
                late, early = (_programme(cohort, part, genes) for part in parts)
                score[patient] = late.mean() - early.mean()
        elif mechanism == "rna_state" and len(cells):
            score[patient] = _programme(cohort, cells, truth.markers[mechanism]).mean()
        elif mechanism == "protein_only" and len(cells):
            score[patient] = -_protein(cohort, cells, "CD39").mean()
        elif mechanism == "interaction" and len(cells) > 2:
            genes = [name for name in truth.markers[mechanism] if name != "CD57"]
            score[patient] = _agreement(
                _programme(cohort, cells, genes), _protein(cohort, cells, "CD57")
            )
    return np.where(np.isnan(score), np.nanmedian(score), score)


def _log_share(count: int, of: int) -> float:
    return float(np.log((count + 0.5) / (of + 1)))


def _shifted_shares(population: Array) -> float:
    """Log likelihood ratio of the shares in blood before infusion, as if they were exact."""
    log_sd = {own.name: own.log_sd for own in POPULATIONS}
    return sum(
        np.log(response / none)
        / log_sd[name] ** 2
        * _log_share(int((population == name).sum()), len(population))
        for (where, name), (response, none) in SHIFTS.items()
        if where == "pre_PB"
    )


def _programme(cohort: Cohort, cells: Array, genes: Any) -> Array:
    """(cells) mean log1p of the genes' counts in 10,000."""
    counts = cohort.rna[cells].toarray().astype(float)
    logs = np.log1p(1e4 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    means: Array = logs[:, cohort.genes.index.get_indexer(list(genes))].mean(axis=1)
    return means


def _protein(cohort: Cohort, cells: Array, name: str) -> Array:
    """(cells) log1p of a protein's count less the mean over the cell's proteins."""
    assert cohort.protein is not None
    logs = np.log1p(cohort.protein[cells].astype(float))
    level: Array = logs[:, cohort.proteins.index(name)] - logs.mean(axis=1)
    return level


def _agreement(a: Array, b: Array) -> float:
    """Correlation over cells, 0 where one is the same in all."""
    if not (a.std() and b.std()):
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
