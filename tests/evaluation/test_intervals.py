"""DeLong against its definition and against published behaviour."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from recart.evaluation.intervals import auroc_interval, delong_variance
from recart.evaluation.predictions import aggregate


def _direct(y: np.ndarray, score: np.ndarray) -> float:
    """DeLong's variance by the definition, over all pairs."""
    positive, negative = score[y == 1], score[y == 0]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    by_positive, by_negative = wins.mean(axis=1), wins.mean(axis=0)
    return float(by_positive.var(ddof=1) / len(positive) + by_negative.var(ddof=1) / len(negative))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("n", "seed"), [(12, 0), (40, 1), (97, 2)])
def test_fast_delong_is_delong(n: int, seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.4).astype(float)
    score = rng.normal(size=n) + y
    score = np.round(score) if ties else score
    auroc, variance = delong_variance(y, score)
    assert auroc == pytest.approx(roc_auc_score(y, score))
    assert variance == pytest.approx(_direct(y, score), rel=1e-10)


def test_one_bag_a_cluster_changes_nothing_and_copies_count_once() -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(40) % 2).astype(float)
    score = rng.normal(size=40) + y
    names = [f"P{i}" for i in range(40)]
    _, plain = delong_variance(y, score)
    _, own = delong_variance(y, score, names)
    assert own == pytest.approx(plain, rel=1e-12)
    twice = np.repeat(y, 2), np.repeat(score, 2)
    _, copies = delong_variance(*twice, [name for name in names for _ in range(2)])
    _, naive = delong_variance(*twice)
    assert copies == pytest.approx(plain, rel=1e-10)
    assert naive < 0.55 * plain


def test_a_patient_with_both_labels_adds_a_covariance() -> None:
    rng = np.random.default_rng(1)
    own = np.repeat(rng.normal(size=30), 2)
    y = np.tile([0.0, 1.0], 30)
    score = own + 0.3 * y + 0.01 * rng.normal(size=60)
    _, paired = delong_variance(y, score, [f"P{i // 2}" for i in range(60)])
    _, unpaired = delong_variance(y, score)
    assert paired < 0.5 * unpaired


def test_perfect_separation_still_has_an_interval(make_predictions: Any) -> None:
    table = make_predictions(n=20, effect=50.0)
    interval = auroc_interval(aggregate(table, "m"))
    assert interval.high == 1.0
    assert 0.6 < interval.low < 0.95


def test_a_constant_score_is_not_certain(make_predictions: Any) -> None:
    table = make_predictions(n=20)
    table["logit"] = 0.3
    interval = auroc_interval(aggregate(table, "m"))
    assert interval.low < 0.35
    assert interval.high > 0.65


def test_interval_is_widened_on_the_log_odds_scale(make_predictions: Any) -> None:
    scores = aggregate(make_predictions(n=60, effect=1.0), "m")
    plain, wide = (auroc_interval(scores, inflation=1.0), auroc_interval(scores, inflation=1.4))

    def reach(interval: Any) -> float:
        return float(
            np.log(interval.high / (1 - interval.high)) - np.log(interval.low / (1 - interval.low))
        )

    assert reach(wide) == pytest.approx(1.4 * reach(plain))


@pytest.mark.parametrize(("n", "factor"), [(40, "1.6"), (80, "1.6"), (110, "1.5"), (160, "1.4")])
def test_fewer_patients_widen_more(make_predictions: Any, n: int, factor: str) -> None:
    interval = auroc_interval(aggregate(make_predictions(n=n), "model"))
    assert interval.method == f"logit DeLong, SE x {factor}"


def test_both_classes_are_needed() -> None:
    with pytest.raises(ValueError, match="3 positive and 0 negative"):
        delong_variance(np.ones(3), np.arange(3.0))
