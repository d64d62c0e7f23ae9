"""Error rates over simulated cohorts, through a real cross-validation: do the numbers hold?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import norm

from recart.evaluation.bootstrap import PatientBootstrap
from recart.evaluation.comparison import compare
from recart.evaluation.intervals import auroc_interval, delong_variance
from recart.evaluation.predictions import BagScores, aggregate

_FEATURES, _RIDGE, _PATIENTS = 20, 60.0, 30


def _ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=0)
    return np.linalg.solve(
        centred.T @ centred + _RIDGE * np.eye(_FEATURES), centred.T @ (y - y.mean())
    )


def _cross_validated(x: np.ndarray, y: np.ndarray, fold: np.ndarray, name: str) -> BagScores:
    logits = np.empty(len(y))
    for k in range(5):
        train = fold != k
        coefficients = _ridge(x[train], y[train])
        # the intercept follows the training prevalence, as that of any fitted head does
        logits[~train] = (x[~train] - x[train].mean(axis=0)) @ coefficients + y[train].mean()
    ids = [f"P{i:03d}" for i in range(len(y))]
    columns = {"bag": ids, "patient": ids, "fold": fold, "y": y.astype(int), "logit": logits}
    table = pd.DataFrame(columns).assign(repeat=0, member="m", probability=expit(logits))
    return aggregate(table, name)


def _cohorts(
    count: int, effect: float, models: int = 1
) -> Iterator[tuple[np.ndarray, list[np.ndarray], list[BagScores], int]]:
    """Cohorts of 12 positive and 18 negative patients; each model has features of its own."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        y = (np.arange(_PATIENTS) < 12).astype(float)
        fold = np.concatenate([rng.permutation(np.arange(m) % 5) for m in (12, 18)])
        tables = []
        for _ in range(models):
            x = rng.normal(size=(_PATIENTS, _FEATURES))
            x[:, :4] += effect * y[:, None]
            tables.append(x)
        scores = [_cross_validated(x, y, fold, str(i)) for i, x in enumerate(tables)]
        yield y, tables, scores, seed


def test_noise_reads_a_half() -> None:
    found = [delong_variance(s.y, s.score)[0] for _, _, (s,), _ in _cohorts(200, 0.0)]
    # sd of one is about 0.15, of the mean of 200 about 0.011
    assert np.mean(found) == pytest.approx(0.5, abs=0.033)


def test_interval_covers_the_auroc_of_the_final_model() -> None:
    covered = 0
    for y, (x,), (scores,), _ in _cohorts(150, 0.4):
        coefficients = _ridge(x, y)
        shift = 0.4 * coefficients[:4].sum()
        truth = norm.cdf(shift / (np.sqrt(2) * np.linalg.norm(coefficients)))
        interval = auroc_interval(scores)
        covered += interval.low <= truth <= interval.high
    assert covered >= 0.91 * 150
    # wider than need be says nothing, and always holds: at twice the standard error 149 do
    assert covered <= 0.99 * 150


def test_equal_models_rarely_differ() -> None:
    wide = narrow = 0
    for _, _, (first, second), seed in _cohorts(150, 0.4, models=2):
        found = compare(first, second, PatientBootstrap.draw(first, seed, 300))
        wide += found.interval.excludes(0)
        narrow += found.bootstrap.excludes(0)
    # 12 % of 150 is three standard errors off 5 %
    assert wide <= 0.12 * 150
    # and the reason for widening is real
    assert narrow >= 0.12 * 150
