"""A judge tells odd shares of cell types, and does not tell whom it was fitted to."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from recart.inference.trust.cell_measures import CellMeasures
from recart.inference.trust.judge import MEASURES, Judge

STATES, BAGS, CELLS = 30, 27, 500


def cells(latents: np.ndarray) -> CellMeasures:
    """Cells of which nothing but the latent is known."""
    nothing = np.full(len(latents), np.nan)
    return CellMeasures(
        latents=latents, rna=nothing, protein=nothing, rna_depth=nothing, protein_depth=nothing
    )


def bags(rng: np.random.Generator, share: np.ndarray, count: int) -> list[np.ndarray]:
    """Latents of bags whose shares of states vary around these."""
    centre = np.random.default_rng(7).normal(scale=5, size=(STATES, 8))
    return [
        centre[rng.choice(STATES, CELLS, p=rng.dirichlet(100 * share))]
        + rng.normal(scale=0.3, size=(CELLS, 8))
        for _ in range(count)
    ]


def distances(judge: Judge, of: list[np.ndarray]) -> np.ndarray:
    """How far compositions of bags are from those that the judge was fitted to."""
    found = [judge.measures(cells(own), np.zeros((3, len(own))), []) for own in of]
    return np.stack(found)[:, MEASURES.index("composition")]


def test_distance_of_composition_is_of_the_cohort_and_not_of_its_patients() -> None:
    usual = np.full(STATES, 1 / STATES)
    odd = np.where(np.arange(STATES) < STATES // 3, 3 / STATES, 1e-6)
    told = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        seen, others = bags(rng, usual, BAGS), bags(rng, usual, BAGS)
        judge = Judge.fit("one", seen, [cells(own) for own in seen], 32, seed)
        near, far = distances(judge, seen), distances(judge, others)
        told.append(roc_auc_score(np.repeat([0, 1], BAGS), np.concatenate([near, far])))
        assert distances(judge, bags(rng, odd / odd.sum(), 3)).min() > far.max()
    # by a covariance of all shares it is .67
    assert np.mean(told) < 0.6
