"""Claim: the interval of the AUROC covers 93-99 % on an outside cohort and one site at a time.

Simulated patients with ten features of which two are 0, 0.8 or 1.4 standard deviations apart, as in
`pair_coverage.py`; ridge logistic regression of one strength. Outside: fitted to 60 patients,
scored on 16, 24 or 40 others of whom 40 % are positive; the target is the AUROC of that very model
on the population. By site: five sites of 30 to 70 % positive patients whose features lie elsewhere,
each held out in turn; the target is the AUROC, inside a site, of the model of all patients. Both
are known in closed form.

    python benchmarks/kind_coverage.py [--cohorts 500]
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import expit
from scipy.stats import norm

from recart.data.split import Kind
from recart.evaluation.design import FoldDesign
from recart.evaluation.intervals import INFLATION, auroc_interval
from recart.evaluation.outside import Place
from recart.evaluation.predictions import BagScores, aggregate
from recart.models.ridge_logistic import fit_ridge_logistic

FEATURES, INFORMATIVE, STRENGTH, SITES, TRAINED_ON = 10, 2, 3.0, 5, 60
_RATES = (0.3, 0.4, 0.5, 0.6, 0.7)
_APART = 0.7  # standard deviation of the sites' means of a feature

Array = np.ndarray[Any, np.dtype[Any]]


def features(y: Array, effect: float, rng: np.random.Generator) -> Array:
    """(n, feature) of patients of these labels."""
    x = rng.normal(size=(len(y), FEATURES))
    x[:, :INFORMATIVE] += effect * (y[:, None] - 0.5)
    return x


def fitted(x: Array, y: Array, weight: Array) -> tuple[Array, Array]:
    """(model, feature) coefficients and (model) intercepts under weights (model, n)."""
    models = len(weight)
    coefficients, intercepts = fit_ridge_logistic(
        torch.from_numpy(x).expand(models, -1, -1),
        torch.from_numpy(y.astype(float)).expand(models, -1),
        torch.from_numpy(weight),
        torch.full((models, 1), STRENGTH, dtype=torch.float64),
    )
    return coefficients[:, 0].numpy(), intercepts[:, 0].numpy()


def target(coefficients: Array, effect: float) -> float:
    """AUROC of a linear score on patients of one site."""
    shift = effect * coefficients[:INFORMATIVE].sum() / np.linalg.norm(coefficients)
    return float(norm.cdf(shift / np.sqrt(2)))


def scores(y: Array, fold: Array, logit: Array, design: FoldDesign) -> BagScores:
    """What the evaluation makes of held-out logits."""
    ids = [f"P{own:03d}" for own in range(len(y))]
    table = pd.DataFrame({"bag": ids, "patient": ids, "repeat": 0, "fold": fold, "y": y})
    table = table.assign(
        member=[f"r0f{own}" for own in fold], logit=logit, probability=expit(logit)
    )
    return aggregate(table, "ridge", design)


def outside(n: int, effect: float, seed: int) -> tuple[BagScores, float]:
    """One model, and `n` patients that it has not seen."""
    rng = np.random.default_rng((n, int(effect * 10), seed, 8))
    inside = np.arange(TRAINED_ON) % 5 < 2
    y = (np.arange(n) < round(0.4 * n)).astype(int)
    x = features(inside.astype(int), effect, rng)
    coefficients, intercepts = fitted(x, inside, np.ones((1, TRAINED_ON)))
    logit = features(y, effect, rng) @ coefficients[0] + intercepts[0]
    design = FoldDesign(
        kind=Kind.EXTERNAL,
        prevalence={(0, 0): float(inside.mean())},
        place=Place(column="site", values=("elsewhere",)),
    )
    return scores(y, np.zeros(n, dtype=int), logit, design), target(coefficients[0], effect)


def by_site(n: int, effect: float, seed: int) -> tuple[BagScores, float]:
    """A model for each of five sites that has not seen it."""
    rng = np.random.default_rng((n, int(effect * 10), seed, 9))
    site = np.arange(n) % SITES
    rank = np.arange(n) // SITES
    y = (rank < np.round(np.array(_RATES)[site] * (n // SITES))).astype(int)
    x = features(y, effect, rng) + _APART * rng.normal(size=(SITES, FEATURES))[site]
    weight = np.concatenate([(site != np.arange(SITES)[:, None]).astype(float), np.ones((1, n))])
    coefficients, intercepts = fitted(x, y, weight)
    logit = (x * coefficients[site]).sum(1) + intercepts[site]
    return scores(y, site, logit, FoldDesign(kind=Kind.GROUPS)), target(coefficients[-1], effect)


def main() -> None:
    """Print coverage of each kind, size and effect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=500, help="of each kind, size and effect")
    cohorts = parser.parse_args().cohorts
    torch.set_num_threads(1)
    for kind, sizes in ((outside, (16, 24, 40)), (by_site, (20, 40, 80))):
        for n in sizes:
            for effect in (0.0, 0.8, 1.4):
                covered = []
                for seed in range(cohorts):
                    found, truth = kind(n, effect, seed)
                    # the second is that of a run, which has no factor for an outside cohort
                    both = [auroc_interval(found, inflation=f) for f in (1.0, INFLATION)]
                    covered.append([own.low <= truth <= own.high for own in both])
                plain, shipped = np.mean(covered, axis=0)
                sys.stdout.write(
                    f"{kind.__name__} n={n} effect {effect}: coverage {shipped:.1%}, "
                    f"plain {plain:.1%}\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
