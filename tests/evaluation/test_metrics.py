"""Metrics against scikit-learn, and the refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    roc_auc_score,
)

from recart.data.split import Kind
from recart.evaluation.design import FoldDesign
from recart.evaluation.metrics import metrics
from recart.evaluation.predictions import aggregate


def test_metrics_agree_with_scikit_learn(make_predictions: Any) -> None:
    scores = aggregate(make_predictions(n=30, effect=1.0, repeats=3, members=2), "model")
    found = metrics(scores)
    called = scores.probability > 0.5
    assert found.auroc == pytest.approx(roc_auc_score(scores.y, scores.score))
    assert found.auprc == pytest.approx(average_precision_score(scores.y, scores.score))
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(scores.y, called))
    assert found.brier == pytest.approx(brier_score_loss(scores.y, scores.probability))
    assert (found.n_bags, found.n_positive, found.n_repeats, found.n_folds) == (30, 15, 3, 5)


def test_extreme_logits_are_not_tied(make_predictions: Any) -> None:
    table = make_predictions(n=20, effect=0.0)
    table["logit"] = 200 + np.arange(20) * 1e-3
    table["logit"] += table["y"] * 1.0
    scores = aggregate(table, "model")
    assert metrics(scores).auroc == pytest.approx(roc_auc_score(scores.y, scores.score))


def test_fold_mean_is_the_mean_of_the_folds(make_predictions: Any) -> None:
    table = make_predictions(n=30, effect=1.0, repeats=2)
    by_fold = [
        roc_auc_score(fold["y"], fold["logit"]) for _, fold in table.groupby(["repeat", "fold"])
    ]
    assert metrics(aggregate(table, "m")).auroc_fold_mean == pytest.approx(np.mean(by_fold))


def test_folds_that_disagree_with_the_whole_are_flagged(make_predictions: Any) -> None:
    table = make_predictions(n=20, k=2)
    table["logit"] = table["y"].astype(float)
    assert not metrics(aggregate(table, "m")).folds_disagree
    # 16 patients in fold 0, ranked rightly; 4 in fold 1, ranked wrongly and a hundred times louder
    table["fold"] = (table.groupby("y").cumcount() < 2).astype(int)
    table.loc[table["fold"] == 1, "logit"] *= -100
    found = metrics(aggregate(table, "m"))
    assert found.auroc_fold_mean == pytest.approx(0.5)
    # loudness is taken out fold by fold: 8 of 10 positives above 8 of 10 negatives, ties one half
    assert found.auroc == pytest.approx(0.8)
    assert found.folds_disagree


def test_leave_one_out_is_refused_with_the_reason(make_predictions: Any) -> None:
    table = make_predictions(n=16)
    table["fold"] = np.arange(16)
    found = metrics(aggregate(table, "m"))
    assert found.auroc is None
    assert found.auprc is None
    assert "16 of 16 held-out folds hold a single class" in found.refusal
    assert found.brier > 0


def test_patients_held_out_alone_are_not_ranked_whatever_their_bags_say(
    make_predictions: Any,
) -> None:
    table = make_predictions(n=8, bags_per_patient=2)
    table["y"] = np.arange(16) % 2  # every patient has a bag of both classes
    table["fold"] = table.groupby("patient").ngroup()
    found = metrics(aggregate(table, "m", FoldDesign(kind=Kind.GROUPS)))
    assert found.auroc is None
    assert "Every held-out fold is one patient" in found.refusal


def test_saying_the_training_prevalence_has_no_skill(make_predictions: Any) -> None:
    table = make_predictions(n=30)
    table.loc[table["bag"] < "B010", "y"] = 1
    prevalence = aggregate(table, "m").table["train_prevalence"]
    table["probability"] = table["bag"].map(prevalence)
    assert metrics(aggregate(table, "m")).brier_skill == pytest.approx(0.0, abs=1e-9)
    table["probability"] = table["y"].astype(float)
    assert metrics(aggregate(table, "m")).brier_skill == pytest.approx(1.0)


def test_a_single_fold_has_no_brier_skill(make_predictions: Any) -> None:
    table: pd.DataFrame = make_predictions(n=20)
    table["fold"] = 0
    assert metrics(aggregate(table, "m")).brier_skill is None
