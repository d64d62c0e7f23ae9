"""Measures within parts of the patients: of the same scores, and only where there are enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from recart.data.split import Kind
from recart.evaluation.intervals import auroc_interval
from recart.evaluation.predictions import BagScores, aggregate
from recart.evaluation.subgroups import SUBGROUPS, subgroups


@pytest.fixture
def made(make_cohort: Any, make_predictions: Any) -> tuple[BagScores, Any, Any]:
    """Forty patients, every second one positive: 20 of sex f, 16 of m, 4 unknown."""
    store, bags = make_cohort(patients=40, cells=4)
    predictions = make_predictions(n=40, effect=1.0, k=4)
    predictions["bag"] = bags.table.index[[int(name[1:]) for name in predictions["bag"]]]
    predictions["patient"] = predictions["bag"]
    sex = np.array(["f"] * 20 + ["m"] * 16 + [None] * 4, dtype=object)
    store = replace(store, patients=store.patients.assign(sex=sex, age=np.arange(40.0)))
    return aggregate(predictions, "model"), store, bags


def test_each_value_is_ranked_alone(made: tuple[BagScores, Any, Any]) -> None:
    scores, store, bags = made
    f, m, unknown = subgroups(scores, store, bags, ["sex", "no such column"])
    table = scores.table.loc[bags.table.index[:20]]
    assert (f.column, f.value, f.positive, f.negative) == ("sex", "f", 10, 10)
    assert f.auroc == pytest.approx(roc_auc_score(table["y"], table["score"]))
    whole = auroc_interval(scores)
    assert f.interval is not None
    assert f.interval.low < f.auroc < f.interval.high
    assert f.interval.width > whole.width
    assert f.observed == pytest.approx(0.5)
    assert f.expected == pytest.approx(table["probability"].mean())
    assert (m.positive, m.negative) == (8, 8)
    assert m.auroc is not None
    assert (unknown.value, unknown.positive, unknown.negative) == ("not given", 2, 2)
    assert unknown.auroc is None
    assert "fewer than 8" in unknown.refusal


def test_what_makes_no_groups_is_refused(made: tuple[BagScores, Any, Any]) -> None:
    scores, store, bags = made
    (age,) = subgroups(scores, store, bags, ["age"])
    assert (age.value, age.positive, age.negative, age.auroc) == ("40 values", 20, 20, None)
    pairs = replace(scores, kind=Kind.PAIRS)
    assert all(own.auroc is None and own.refusal for own in subgroups(pairs, store, bags, ["sex"]))
    # folds of one class: standardised in them, scores of the best model read .5
    one_class = scores.folds.assign(fold=scores.folds["y"])
    single = replace(scores, kind=Kind.GROUPS, folds=one_class)
    assert {own.auroc for own in subgroups(single, store, bags, ["sex"])} == {None}


def test_samples_say_where_patients_do_not(made: tuple[BagScores, Any, Any]) -> None:
    scores, store, bags = made
    store = replace(store, samples=store.samples.assign(site=["A"] * 20 + ["B"] * 20))
    found = subgroups(scores, store, bags, SUBGROUPS)
    assert {own.column for own in found} <= set(SUBGROUPS)
    first, second = (own for own in found if own.column == "site")
    (of_sex, *_) = subgroups(scores, store, bags, ["sex"])  # the same twenty patients
    assert (first.value, second.value) == ("A", "B")
    assert (first.auroc, first.interval) == (of_sex.auroc, of_sex.interval)
    assert second.positive == second.negative == 10
