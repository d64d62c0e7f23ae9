"""Claim: under leave-pair-out the interval of the AUROC covers 93-99 %, and noise reads one half.

Simulated cohorts of 16, 24 and 28 patients, half of them positive, with ten features of which two
are 0, 0.8 or 1.4 standard deviations apart; ridge logistic regression of one strength, fitted anew
without every pair. The target is the AUROC of the model of all patients on the population, which is
known in closed form.

    python benchmarks/pair_coverage.py [--cohorts 250]
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import pandas as pd
import torch
from scipy.special import expit
from scipy.stats import norm

from recart.data.split import Kind
from recart.evaluation.design import FoldDesign
from recart.evaluation.intervals import INFLATION, auroc_interval
from recart.evaluation.pairs import pair_auroc
from recart.evaluation.predictions import BagScores, aggregate
from recart.models.ridge_logistic import fit_ridge_logistic

FEATURES, INFORMATIVE, STRENGTH = 10, 2, 3.0


def cohort(n: int, effect: float, seed: int) -> tuple[BagScores, float]:
    """Held-out pairs of one cohort, and the AUROC of the model of all its patients."""
    rng = np.random.default_rng((n, int(effect * 10), seed, 7))
    y = (np.arange(n) < n // 2).astype(int)
    x = rng.normal(size=(n, FEATURES))
    x[:, :INFORMATIVE] += effect * (y[:, None] - 0.5)
    pairs = [(a, b) for a in range(n // 2) for b in range(n // 2, n)]
    models = len(pairs) + 1
    weight = np.ones((models, n))
    for model, pair in enumerate(pairs):
        weight[model, list(pair)] = 0
    coefficients, intercepts = fit_ridge_logistic(
        torch.from_numpy(x).expand(models, -1, -1),
        torch.from_numpy(y.astype(float)).expand(models, -1),
        torch.from_numpy(weight),
        torch.full((models, 1), STRENGTH, dtype=torch.float64),
    )
    logits = (x @ coefficients[:, 0].numpy().T + intercepts[:, 0].numpy()).T
    whole = coefficients[-1, 0].numpy()
    shift = effect * whole[:INFORMATIVE].sum() / np.linalg.norm(whole)
    fold, patient = np.repeat(np.arange(len(pairs)), 2), np.array(pairs).ravel()
    table = pd.DataFrame(
        {
            "bag": [f"B{own:02d}" for own in patient],
            "patient": [f"P{own:02d}" for own in patient],
            "repeat": 0,
            "fold": fold,
            "member": [f"r0f{own}" for own in fold],
            "y": y[patient],
            "logit": logits[fold, patient],
            "probability": expit(logits[fold, patient]),
        }
    )
    scores = aggregate(table, "ridge", FoldDesign(kind=Kind.PAIRS))
    return scores, float(norm.cdf(shift / np.sqrt(2)))


def main() -> None:
    """Print mean AUROC and coverage of each size and effect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=250, help="of each size and effect")
    cohorts = parser.parse_args().cohorts
    torch.set_num_threads(1)
    for n in (16, 24, 28):
        for effect in (0.0, 0.8, 1.4):
            aurocs, covered = [], []
            for seed in range(cohorts):
                scores, truth = cohort(n, effect, seed)
                aurocs.append(pair_auroc(scores))
                found = [auroc_interval(scores, inflation=f) for f in (1.0, INFLATION)]
                covered.append([own.low <= truth <= own.high for own in found])
            plain, wide = np.mean(covered, axis=0)
            sys.stdout.write(
                f"n={n} effect {effect}: mean AUROC {np.mean(aurocs):.3f}, coverage {plain:.1%} "
                f"plain, {wide:.1%} with the standard error times {INFLATION:g}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
