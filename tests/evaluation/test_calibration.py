"""Calibration in the large and slope, the decision curve, and sensitivity at fixed specificity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from recart.evaluation.bootstrap import PatientBootstrap
from recart.evaluation.calibration import calibration
from recart.evaluation.decision_curve import decision_curve
from recart.evaluation.operating_point import sensitivity_at_specificity
from recart.evaluation.predictions import BagScores, aggregate
from recart.evaluation.repeats import per_repeat


def _scores(make: Any, transform: Any = None, **settings: Any) -> BagScores:
    table = make(**settings)
    if transform is not None:
        table["logit"] = transform(table["logit"])
        table["probability"] = expit(table["logit"])
    return aggregate(table, "model")


def test_slope_is_that_of_an_unpenalised_regression(make_predictions: Any) -> None:
    scores = _scores(make_predictions, n=60, effect=1.0)
    found = calibration(scores)
    log_odds = np.log(scores.probability / (1 - scores.probability))
    peer = LogisticRegression(C=np.inf, tol=1e-10).fit(log_odds[:, None], scores.y)
    assert found.slope == pytest.approx(float(peer.coef_[0, 0]), rel=1e-4)
    assert found.slope_interval is not None
    assert found.slope_interval.low < found.slope < found.slope_interval.high


def test_overconfidence_and_optimism_are_seen(make_predictions: Any) -> None:
    plain = calibration(_scores(make_predictions, n=200, effect=1.0))
    sure = calibration(_scores(make_predictions, lambda z: 4 * z, n=200, effect=1.0))
    high = calibration(_scores(make_predictions, lambda z: z + 2, n=200, effect=1.0))
    assert plain.slope_interval is not None
    assert not plain.slope_interval.excludes(1.0)
    assert not plain.in_the_large_interval.excludes(0.0)
    assert sure.slope == pytest.approx(plain.slope / 4, rel=1e-3)
    assert high.in_the_large_interval.high < 0
    assert high.in_the_large < -1


def test_slope_covers_one_where_the_model_is_calibrated(make_predictions: Any) -> None:
    # logit = y - 1/2 + noise of SD 1 is the true log-odds of a balanced class
    found = [calibration(_scores(make_predictions, n=80, effect=1.0, seed=s)) for s in range(100)]
    covered = [one.slope_interval.excludes(1.0) for one in found if one.slope_interval]
    assert np.mean(covered) < 0.12


def test_what_cannot_be_said_is_refused(make_predictions: Any) -> None:
    separated = calibration(_scores(make_predictions, effect=20.0))
    assert separated.slope is None
    assert "separate" in separated.refusal
    meeting = _scores(make_predictions, lambda z: np.where(abs(z) < 10, 0, z), effect=20.0)
    assert "separate" in calibration(meeting).refusal
    constant = calibration(_scores(make_predictions, lambda z: 0 * z))
    assert "same of every bag" in constant.refusal
    assert "20 events and 20 non-events" in constant.curve_refusal
    assert calibration(_scores(make_predictions, n=200)).curve_refusal == ""


def test_samples_of_one_patient_count_as_one(make_predictions: Any) -> None:
    one = calibration(_scores(make_predictions, n=40, effect=1.0))
    many = calibration(_scores(make_predictions, n=40, effect=1.0, bags_per_patient=10))
    assert one.slope_interval is not None
    assert many.slope_interval is not None
    assert many.slope_interval.width > 0.7 * one.slope_interval.width


def test_decision_curve_between_all_and_none(make_predictions: Any) -> None:
    scores = _scores(make_predictions, n=100, effect=2.0)
    found = decision_curve(scores, PatientBootstrap.draw(scores, 0, 200))
    at = int(np.argmin(np.abs(found.threshold - 0.5)))
    called = scores.probability >= found.threshold[at]
    by_hand = np.mean(called * scores.y) - np.mean(called * (1 - scores.y))
    assert found.net_benefit[at] == pytest.approx(by_hand)
    assert found.net_benefit[at] > max(0.0, found.treat_all[at])
    assert bool((found.low <= found.high).all())
    assert not found.exploratory
    few = _scores(make_predictions, n=40)
    assert decision_curve(few, PatientBootstrap.draw(few, 0, 20)).exploratory


def test_sensitivity_at_specificity_by_hand(make_predictions: Any) -> None:
    scores = _scores(make_predictions, n=100, effect=1.5)
    found = sensitivity_at_specificity(scores, PatientBootstrap.draw(scores, 0, 200))
    best = max(
        float(np.mean(scores.score[scores.y == 1] >= t))
        for t in scores.score
        if np.mean(scores.score[scores.y == 0] < t) >= 0.9
    )
    assert found.sensitivity == pytest.approx(best)
    assert found.interval.low <= found.sensitivity <= found.interval.high


def test_repeats_of_each_bag(make_predictions: Any) -> None:
    scores = _scores(make_predictions, n=20, repeats=3)
    table = per_repeat(scores)
    assert list(table.columns) == ["repeat_0", "repeat_1", "repeat_2", "mean", "spread"]
    three = table[["repeat_0", "repeat_1", "repeat_2"]]
    np.testing.assert_allclose(table["spread"], three.std(axis=1, ddof=1))
    assert bool(((table["mean"] >= three.min(axis=1)) & (table["mean"] <= three.max(axis=1))).all())
