"""Measures of levels and times: written out, and as scikit-survival has them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from recart.data.split import Kind
from recart.evaluation.outcomes.measured import assess_outcome, outcomes_of
from recart.evaluation.outcomes.ordinal import ordinal_draws, ranked_probability
from recart.evaluation.outcomes.survival import kaplan_meier, survival_measures
from recart.training.endpoints import BinaryEndpoint, OrdinalEndpoint, SeveralEndpoints

LEVELS = ["PD", "PR", "CR"]


def test_concordance_and_cuts_as_written_out() -> None:
    rng = np.random.default_rng(0)
    level = rng.integers(0, 3, 30).astype(float)
    score = np.round(level + rng.normal(size=30), 1)
    weights = np.vstack([np.ones(30), rng.integers(0, 3, 30)])
    found = ordinal_draws(level, score, weights, LEVELS)
    for row, own in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(30), own)
        pairs = [(i, j) for i in rows for j in rows if level[i] > level[j]]
        wins = [(score[i] > score[j]) + 0.5 * (score[i] == score[j]) for i, j in pairs]
        assert found["concordance"][row] == pytest.approx(np.mean(wins))
        for cut in (1, 2):
            wanted = roc_auc_score(level[rows] >= cut, score[rows])
            assert found[f"AUROC >= {LEVELS[cut]}"][row] == pytest.approx(wanted)


def test_the_ranked_probability_score() -> None:
    sure = np.eye(3)
    np.testing.assert_array_equal(ranked_probability(np.arange(3.0), sure), 0)
    # one level off costs half of what two cost
    np.testing.assert_allclose(ranked_probability(np.zeros(3), sure), [0, 0.5, 1])
    level = np.array([0.0, 1, 2, 2])
    shares = np.tile([0.25, 0.25, 0.5], (4, 1))
    found = ordinal_draws(level, level, np.ones((1, 4)), LEVELS, shares)
    # who says the shares of the levels has no skill
    assert found["ranked probability skill"][0] == pytest.approx(0, abs=1e-12)


def test_kaplan_meier_by_hand() -> None:
    times, share = kaplan_meier(np.array([1.0, 2, 2, 3, 4]), np.array([1.0, 1, 0, 0, 1]))
    np.testing.assert_array_equal(times, [0, 1, 2, 4])
    np.testing.assert_allclose(share, [1, 4 / 5, 4 / 5 * 3 / 4, 0])


def test_survival_is_measured_by_scikit_survival() -> None:
    pytest.importorskip("sksurv")
    rng = np.random.default_rng(1)
    risk = rng.normal(size=80)
    time = rng.exponential(10 * np.exp(-risk))
    censored = rng.uniform(5, 40, 80)
    event = (time <= censored).astype(float)
    seen = np.minimum(time, censored)
    survival = np.exp(-np.exp(risk)[:, None] * np.array([0.6, 1.2]))
    found = survival_measures(seen, event, risk, [6, 12, 900], survival=np.c_[survival, risk * 0])
    backwards = survival_measures(seen, event, -risk, [6, 12])
    assert 0.65 < found["C-index (IPCW)"] < 0.9
    # scikit-survival compares tied times once more
    assert found["C-index (IPCW)"] + backwards["C-index (IPCW)"] == pytest.approx(1, abs=0.01)
    assert found["AUC, month 6"] > 0.7
    assert 0.05 < found["Brier, month 12"] < 0.25
    assert np.isnan(found["AUC, month 900"])


def test_where_only_censored_patients_leave_there_is_no_auc() -> None:
    """As in a bootstrap draw without the early events: the Brier score stays."""
    pytest.importorskip("sksurv")
    time, event = np.array([4.0, 5, 8, 11, 12]), np.array([0.0, 0, 1, 1, 0])
    risk, survival = -time, np.array([[0.9], [0.9], [0.8], [0.8], [0.9]])
    found = survival_measures(time, event, risk, [6], survival)
    assert np.isnan(found["AUC, month 6"])
    assert found["Brier, month 6"] == pytest.approx((2 * 0.2**2 + 0.1**2) / 3)
    with_case = survival_measures(time, np.array([1.0, 0, 1, 1, 0]), risk, [6], survival)
    assert with_case["AUC, month 6"] == 1


def test_an_assessment_measures_what_the_table_holds() -> None:
    rng = np.random.default_rng(2)
    n = 36
    level = np.arange(n) % 3
    logit = level + rng.normal(size=n)
    table = pd.DataFrame(
        {
            "bag": [f"B{i}" for i in range(n)],
            "patient": [f"P{i}" for i in range(n)],
            "repeat": 0,
            "fold": np.arange(n) // 12,
            "logit": logit,
            "target:level": level.astype(float),
            **{f"level:{name}": 1 / 3 for name in LEVELS},
        }
    )
    endpoint = OrdinalEndpoint(column="best", levels=LEVELS, cut="PR")
    found = assess_outcome(
        table,
        {"coin": table.assign(logit=rng.normal(size=n))},
        endpoint,
        seed=0,
        kind=Kind.PARTITION,
    )
    assert found.words == "36 evaluated: PD (12), PR (12), CR (12)"
    interval = found.model.intervals["concordance"]
    assert interval.low < found.model.values["concordance"] < interval.high
    assert found.baselines[0].name == "coin"
    assert "ranked probability score" in found.model.values
    assert found.leads
    assert (found.measure, found.value) == ("concordance", found.model.values["concordance"])
    assert found.rival is found.baselines[0]
    alone = assess_outcome(table.assign(fold=range(n)), {}, endpoint, seed=0, kind=Kind.GROUPS)
    assert np.isnan(alone.value)  # each is the middle of his own fold, which reads .5
    assert "one patient" in alone.refusal
    parts = {"response": BinaryEndpoint(column="response"), "best": endpoint}
    table["log_odds:best"] = table["logit"]
    names = {name: f"{name}:best" for name in table if name.startswith(("level", "target"))}
    (beside,) = outcomes_of(
        table.rename(columns=names), {}, SeveralEndpoints(parts=parts), seed=0, kind=Kind.PARTITION
    )
    assert beside.value == found.value
    assert not beside.leads
