"""Held-out predictions: one row a bag, and every way a table can be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from recart.evaluation.predictions import aggregate
from recart.problems import InputError


def test_scores_are_standardised_by_fold_and_averaged(make_predictions: Any) -> None:
    table = make_predictions(n=10, repeats=2, members=3, k=2, seed=3)
    scores = aggregate(table, "model")
    bag = "B004"
    by_repeat = []
    for _, repeat in table.groupby("repeat"):
        own = repeat[repeat["bag"] == bag]
        fold = repeat[repeat["fold"] == own["fold"].iloc[0]]
        logits = fold.groupby("bag")["logit"].mean()
        by_repeat.append((own["logit"].mean() - logits.mean()) / logits.std(ddof=0))
    assert scores.table.loc[bag, "score"] == pytest.approx(np.mean(by_repeat))
    rows = table[table["bag"] == bag]
    assert scores.table.loc[bag, "probability"] == pytest.approx(
        expit(logit(rows["probability"]).mean())
    )
    assert scores.table.loc[bag, "logit_low"] == rows["logit"].min()
    assert scores.table.loc[bag, "logit_high"] == rows["logit"].max()


def test_training_prevalence_leaves_the_fold_out(make_predictions: Any) -> None:
    table = make_predictions(n=10, k=5)
    table.loc[table["bag"].isin(["B001", "B003"]), "y"] = 1
    scores = aggregate(table, "model")
    fold = table.loc[table["bag"] == "B000", "fold"].iloc[0]
    outside = table[table["fold"] != fold]
    assert scores.table.loc["B000", "train_prevalence"] == pytest.approx(outside["y"].mean())


def test_order_of_rows_does_not_matter(make_predictions: Any) -> None:
    table = make_predictions(repeats=2)
    shuffled = table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(aggregate(table, "m").table, aggregate(shuffled, "m").table)


def test_standardising_removes_the_bias_of_a_strong_ridge_on_noise() -> None:
    raw, centred = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        y = (np.arange(23) < 8).astype(int)
        x = rng.normal(size=(23, 10))
        rows = []
        for fold, (train, test) in enumerate(
            StratifiedKFold(5, shuffle=True, random_state=seed).split(x, y)
        ):
            model = LogisticRegression(C=1e-5).fit(x[train], y[train])
            for i, value in zip(test, model.decision_function(x[test]), strict=True):
                rows.append((f"B{i}", f"P{i}", 0, fold, "m", y[i], value, expit(value)))
        columns = ["bag", "patient", "repeat", "fold", "member", "y", "logit", "probability"]
        scores = aggregate(pd.DataFrame(rows, columns=columns), "ridge")
        raw.append(roc_auc_score(scores.y, scores.table["logit"]))
        centred.append(roc_auc_score(scores.y, rankdata(scores.score)))
    assert np.mean(raw) < 0.44
    assert abs(np.mean(centred) - 0.5) < 0.08


def _break(table: pd.DataFrame, how: str) -> pd.DataFrame:
    table = table.copy()
    if how == "E-EVAL-001":
        return table.drop(columns="logit")
    if how == "E-EVAL-002":
        return table.iloc[:0]
    if how == "E-EVAL-003":
        table.loc[3, "logit"] = np.nan
    if how == "E-EVAL-004":
        table["y"] = 1
    if how == "E-EVAL-005":
        rows = table.index[(table["bag"] == "B000") & (table["repeat"] == 0)]
        table.loc[rows, "y"] = 1 - table.loc[rows, "y"]
    if how == "E-EVAL-006":
        rows = table.index[(table["bag"] == "B000") & (table["repeat"] == 0)]
        table.loc[rows, "patient"] = "other"
    if how == "E-EVAL-007":
        extra = table.iloc[:1].assign(fold=99)
        table = pd.concat([table, extra], ignore_index=True)
    if how == "E-EVAL-008":
        table = table.drop(index=0)
    if how == "E-EVAL-009":
        rows = table.index[(table["bag"] == "B000") & (table["repeat"] == 0)]
        table.loc[rows, "fold"] = (table.loc[rows, "fold"] + 1) % 5
    if how == "E-EVAL-010":
        table = pd.concat([table, table.iloc[:1]], ignore_index=True)
    return table


@pytest.mark.parametrize("code", [f"E-EVAL-{i:03d}" for i in range(1, 11)])
def test_a_broken_table_is_refused_by_code(make_predictions: Any, code: str) -> None:
    table = make_predictions(n=10, repeats=2, bags_per_patient=2)
    aggregate(table, "whole")
    with pytest.raises(InputError) as error:
        aggregate(_break(table, code), "broken")
    assert code in {problem.code for problem in error.value.problems}
    assert all(problem.mend for problem in error.value.problems)
