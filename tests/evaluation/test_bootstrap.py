"""Patient bootstrap: the draws, the weighted metrics, and coverage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, brier_score_loss, recall_score, roc_auc_score

from recart.evaluation.bootstrap import METRIC_DRAWS, PatientBootstrap
from recart.evaluation.metrics import metrics
from recart.evaluation.predictions import BagScores, aggregate


def _scores(make_predictions: Any, **settings: Any) -> BagScores:
    return aggregate(make_predictions(**settings), "model")


def test_bags_of_a_patient_are_drawn_together(make_predictions: Any) -> None:
    scores = _scores(make_predictions, n=12, k=3, bags_per_patient=3)
    weights = PatientBootstrap.draw(scores, seed=0, n_resamples=50).weights
    by_patient = weights.reshape(50, 12, 3)
    assert (by_patient == by_patient[:, :, :1]).all()
    assert (weights.sum(axis=1) == 36).all()
    assert (weights[:, scores.y == 1].sum(axis=1) == 18).all()


def test_the_seed_decides(make_predictions: Any) -> None:
    scores = _scores(make_predictions)
    first, again, other = (PatientBootstrap.draw(scores, s, 20).weights for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("ties", [False, True])
def test_weighted_metrics_are_those_of_the_repeated_bags(make_predictions: Any, ties: bool) -> None:
    table = make_predictions(n=25, effect=1.0)
    if ties:
        table["logit"] = np.round(table["logit"])
        table["fold"] = 0
    scores = aggregate(table, "m")
    bootstrap = PatientBootstrap.draw(scores, seed=0, n_resamples=5)
    found = {name: bootstrap.draws(name, scores) for name in METRIC_DRAWS}
    for row, counts in enumerate(bootstrap.weights.astype(int)):
        y, score = np.repeat(scores.y, counts), np.repeat(scores.score, counts)
        probability = np.repeat(scores.probability, counts)
        called = probability > 0.5
        expected = {
            "auroc": roc_auc_score(y, score),
            "auprc": average_precision_score(y, score),
            "brier": brier_score_loss(y, probability),
            "sensitivity": recall_score(y, called),
            "specificity": recall_score(y, called, pos_label=0),
        }
        for name, value in expected.items():
            assert found[name][row] == pytest.approx(value), name


def test_weights_of_one_give_the_metrics(make_predictions: Any) -> None:
    scores = _scores(make_predictions, n=30, effect=1.0)
    once = PatientBootstrap(np.ones((1, 30)))
    found = metrics(scores)
    for name in METRIC_DRAWS:
        assert once.draws(name, scores)[0] == pytest.approx(getattr(found, name)), name


def test_interval_covers_the_truth_of_independent_scores(make_predictions: Any) -> None:
    # AUROC of two unit normals one apart; a single fold, so that nothing is centred apart
    truth = norm.cdf(1 / np.sqrt(2))
    covered = 0
    for seed in range(150):
        table = make_predictions(n=60, effect=1.0, seed=seed)
        table["fold"] = 0
        scores = aggregate(table, "m")
        interval = PatientBootstrap.draw(scores, seed, 400).interval("auroc", scores)
        covered += interval.low <= truth <= interval.high
    # nominal 95 %: below 89 % or above 99.4 % has a chance under 1 in 500
    assert 0.89 * 150 <= covered <= 0.994 * 150


def test_roc_band_holds_the_curve_and_its_corners(make_predictions: Any) -> None:
    scores = _scores(make_predictions, n=50, effect=1.5)
    grid = np.linspace(0, 1, 11)
    low, high = PatientBootstrap.draw(scores, 0, 300).roc_band(scores, grid)
    assert (low <= high).all()
    assert high[-1] == pytest.approx(1.0)
    assert low[-1] == pytest.approx(1.0)
    assert (np.diff(low) >= -1e-12).all()
