"""Paired comparison with a baseline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from recart.evaluation.bootstrap import PatientBootstrap
from recart.evaluation.comparison import compare
from recart.evaluation.metrics import metrics
from recart.evaluation.predictions import aggregate
from recart.problems import InputError


def test_a_model_is_no_better_than_itself(make_predictions: Any) -> None:
    scores = aggregate(make_predictions(), "m")
    found = compare(scores, scores, PatientBootstrap.draw(scores, 0, 200))
    assert (found.auroc, found.interval.low, found.interval.high) == (0, 0, 0)


def test_difference_is_that_of_the_aurocs_and_changes_sign(make_predictions: Any) -> None:
    good = aggregate(make_predictions(effect=3.0, n=80, repeats=4), "good")
    poor = aggregate(make_predictions(effect=0.0, n=80, repeats=4, seed=1), "poor")
    resampling = PatientBootstrap.draw(good, 0, 500)
    forward, back = compare(good, poor, resampling), compare(poor, good, resampling)
    assert forward.auroc == pytest.approx(metrics(good).auroc - metrics(poor).auroc)
    assert forward.interval.low > 0
    assert forward.interval.low == pytest.approx(-back.interval.high)
    assert forward.interval.width > forward.bootstrap.width


def test_pairing_narrows_the_interval(make_predictions: Any) -> None:
    table = make_predictions(n=60, effect=1.0)
    model = aggregate(table, "model")
    near = table.copy()
    rng = np.random.default_rng(0)
    near["logit"] += 0.1 * rng.normal(size=len(near))
    near["probability"] = expit(near["logit"])
    far = aggregate(make_predictions(n=60, effect=1.0, seed=9), "far")
    resampling = PatientBootstrap.draw(model, 0, 500)
    alike = compare(model, aggregate(near, "near"), resampling)
    unlike = compare(model, far, resampling)
    assert alike.interval.width < 0.5 * unlike.interval.width


def test_other_bags_or_labels_are_refused(make_predictions: Any) -> None:
    model = aggregate(make_predictions(n=20), "model")
    resampling = PatientBootstrap.draw(model, 0, 10)
    with pytest.raises(InputError, match="E-EVAL-011"):
        compare(model, aggregate(make_predictions(n=22), "other"), resampling)
    flipped = make_predictions(n=20).assign(y=lambda table: 1 - table["y"])
    with pytest.raises(InputError, match="E-EVAL-012"):
        compare(model, aggregate(flipped, "other"), resampling)
