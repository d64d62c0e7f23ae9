"""The ladder: which numbers allow which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from recart.evaluation.assessment import Assessment, assess
from recart.evaluation.claims import ClaimLevel, aligned_columns


def _assess(make: Any, *, effect: float, rival: float | None, **settings: Any) -> Assessment:
    baselines = {} if rival is None else {"composition": make(effect=rival, seed=1, **settings)}
    return assess(
        make(effect=effect, **settings), baselines, endpoint="response", seed=0, n_resamples=500
    )


def _words(assessment: Assessment) -> str:
    return f"{assessment.claim.headline} {assessment.claim.text}"


def test_noise_is_no_evidence_and_says_how_many_patients(make_predictions: Any) -> None:
    found = assess(
        make_predictions(effect=0.4, n=40, seed=5),
        {"composition": make_predictions(effect=0.0, n=40, seed=1)},
        endpoint="response",
        seed=0,
    )
    assert found.claim.level == ClaimLevel.NO_EVIDENCE
    assert found.model.auroc_interval is not None
    assert found.model.auroc_interval.low <= 0.5
    assert "includes 0.5" in found.claim.text
    assert "patients" in found.claim.text
    assert f"{found.model.metrics.auroc:.2f}" in found.claim.text
    assert f"{found.model.auroc_interval.width:.2f} wide" in found.claim.text


def test_signal_no_better_than_the_baseline_names_it(make_predictions: Any) -> None:
    found = _assess(make_predictions, effect=2.5, rival=2.5, n=60)
    assert found.claim.level == ClaimLevel.SIGNAL
    assert "not better than composition" in found.claim.headline


def test_signal_without_baselines_stays_at_signal(make_predictions: Any) -> None:
    found = _assess(make_predictions, effect=3.0, rival=None, n=60)
    assert found.claim.level == ClaimLevel.SIGNAL
    assert "No baseline was run" in found.claim.text


def test_better_than_the_baselines(make_predictions: Any) -> None:
    found = _assess(make_predictions, effect=4.0, rival=0.0, n=80)
    assert found.claim.level == ClaimLevel.BETTER
    assert "Predicts response" in found.claim.headline
    assert "No outside cohort" in found.claim.text


def test_one_unbeaten_baseline_is_enough_to_withhold(make_predictions: Any) -> None:
    found = assess(
        make_predictions(effect=4.0, n=80),
        {
            "noise": make_predictions(effect=0.0, n=80, seed=1),
            "twin": make_predictions(effect=4.0, n=80, seed=2),
        },
        endpoint="response",
        seed=0,
        n_resamples=500,
    )
    assert found.claim.level == ClaimLevel.SIGNAL
    assert found.best_baseline is not None
    assert found.best_baseline.name == "twin"
    assert "twin" in found.claim.headline


@pytest.mark.parametrize("reason", ["few", "leave-one-out", "aligned"])
def test_not_identifiable(make_predictions: Any, reason: str) -> None:
    table = make_predictions(n=14 if reason == "few" else 40, effect=4.0)
    if reason == "leave-one-out":
        table["fold"] = np.arange(40)
    found = assess(
        table,
        {"composition": table},
        endpoint="response",
        seed=0,
        n_resamples=100,
        obstacles=["Site is aligned with the endpoint."] if reason == "aligned" else (),
    )
    assert found.claim.level == ClaimLevel.NOT_IDENTIFIABLE
    expected = {
        "few": "One class has 7 patients",
        "leave-one-out": "single class",
        "aligned": "Site is aligned",
    }
    assert expected[reason] in found.claim.text


@pytest.mark.parametrize(("effect", "rival"), [(0.0, 0.0), (0.3, 2.0), (2.5, 2.5), (2.0, None)])
def test_below_the_top_nothing_is_said_to_be_predicted(
    make_predictions: Any, effect: float, rival: float | None
) -> None:
    found = _assess(make_predictions, effect=effect, rival=rival, n=40)
    assert found.claim.level < ClaimLevel.BETTER
    assert "predict" not in _words(found).lower()


def test_aligned_columns_are_found() -> None:
    y = [0, 0, 0, 0, 1, 1, 1, 1]
    columns = pd.DataFrame(
        {"site": list("aabbccdd"), "batch": list("xyxyxyxy"), "id": list("01234567")}
    )
    found = aligned_columns(columns, y)
    assert len(found) == 1
    assert "Column site" in found[0]
    assert "4 levels" in found[0]
