"""The flow of a cohort: nobody is lost between two steps without a reason."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf

from recart.data.bags import Admission, make_bags
from recart.data.checks.two_classes import TwoClasses
from recart.data.store import CohortStore
from recart.evaluation.outcomes import CENSORED, face_of
from recart.report.flow import admission_in_words, cohort_flow, features_left_out
from recart.training.cohort_setup import PreparedCohort
from recart.training.endpoints import SurvivalEndpoint

DROPPED = {
    "failed libraries": 2,
    "cells of failed libraries": 60,
    "cells without RNA counts": 5,
    "patients without a usable sample": 1,
    "isotype controls": 3,
}


@pytest.fixture
def data() -> DictConfig:
    """The part `data` of a configuration."""
    return OmegaConf.create(
        {
            "endpoint": "response",
            "unit": "patient",
            "exclude": ["NE"],
            "decision_day": 0,
            "timepoints": None,
            "tissues": None,
            "limits": {"min_median_umi": 50.0, "min_cells": 100},
        }
    )


@pytest.fixture
def cohort(make_store: Callable[..., CohortStore]) -> PreparedCohort:
    """Twelve patients with two samples; one has only a late sample, two have no label."""
    store = make_store()
    day = np.tile([0.0, 28.0], len(store.samples) // 2)
    day[0] = 7.0
    store = replace(store, samples=store.samples.assign(day=day), dropped=DROPPED)
    values = pd.DataFrame({"response": ["NR", "R"] * 6}, index=store.patients.index, dtype=object)
    values.iloc[[0, 3]] = None
    values.iloc[4] = "NE"
    resolved = TwoClasses(column="response", exclude=["NE"]).resolve(values)
    bags = make_bags(
        store,
        resolved["label"],
        unit="patient",
        admission=Admission(decision_day=0),
        resolved=resolved,
    )
    return PreparedCohort(store=store, key="k", bags=bags, extras=pd.DataFrame())


def test_samples_of_unknown_day_are_told_apart_from_late_ones(
    make_store: Callable[..., CohortStore], data: DictConfig
) -> None:
    store = make_store()
    day = np.tile([0.0, 28.0], len(store.samples) // 2)
    day[[1, 3, 4]] = np.nan
    store = replace(store, samples=store.samples.assign(day=day))
    labels = pd.Series(np.arange(12) % 2, index=store.patients.index, dtype=float)
    bags = make_bags(store, labels, unit="patient", admission=Admission(decision_day=0))
    steps = cohort_flow(
        PreparedCohort(store=store, key="k", bags=bags, extras=pd.DataFrame()), data
    )
    (left_out,) = steps[1].left_out
    assert left_out.reason.endswith("(3 samples of unknown day)")
    assert left_out.samples == 13


def test_steps_and_what_is_left_out_add_up(cohort: PreparedCohort, data: DictConfig) -> None:
    steps = cohort_flow(cohort, data)
    assert [step.patients for step in steps] == [13, 12, 11, 9]
    assert [step.samples for step in steps] == [26, 24, 11, 9]
    for before, after in itertools.pairwise(steps):
        for part in ("patients", "samples", "cells"):
            gone = sum(getattr(one, part) or 0 for one in before.left_out)
            assert getattr(before, part) - gone == getattr(after, part), (before.name, part)
    assert steps[-1].cells == sum(
        own.stop - own.start
        for label, slices in zip(cohort.bags.table["label"], cohort.bags.slices, strict=True)
        if label >= 0
        for own in slices
    )


def test_each_exclusion_has_its_reason(cohort: PreparedCohort, data: DictConfig) -> None:
    reasons = [one.reason for step in cohort_flow(cohort, data) for one in step.left_out]
    assert reasons == [
        "failed libraries: median below 50 RNA counts a cell, or fewer than 100 cells",
        "cells without RNA counts",
        "patients without a usable sample",
        "not sampled up to day 0 from infusion",
        "no value of response (1); not evaluable: NE (1)",
    ]
    assert features_left_out(DROPPED) == {"isotype controls": 3}


def test_whom_an_outcome_leaves_out_is_counted_by_its_rule(
    make_store: Callable[..., CohortStore], data: DictConfig
) -> None:
    store = make_store()
    outcome = SurvivalEndpoint(
        time="pfs", event="event", months=[6.0], landmark=6.0, exclude=["NE"], decision_day=28.0
    )
    values = pd.DataFrame({"pfs": np.arange(12.0), "event": [0, 1] * 6}, dtype=object)
    values.loc[1, "pfs"], values.loc[4, "event"] = 0.5, "NE"
    values.index = store.patients.index
    resolved = outcome.resolve(values)
    bags = make_bags(
        store,
        resolved["label"],
        unit="patient",
        admission=Admission(),
        outcome=outcome,
        resolved=resolved,
    )
    cohort = PreparedCohort(store=store, key="k", bags=bags, extras=pd.DataFrame())
    _, _, admitted, evaluated = cohort_flow(cohort, data)
    assert {one.reason: one.patients for one in admitted.left_out} == {
        "censored before the window began (time 0)": 1,
        "event or censored by decision day 28.0": 1,
        "no pfs or event, or not evaluable": 1,
    }
    assert (admitted.patients, evaluated.patients) == (12, 9)
    assert evaluated.name == "with a label: evaluated"
    # one of these was followed for two months without an event: in no yes or no at six
    _, _, admitted, evaluated = cohort_flow(face_of(cohort), data)
    told = {one.reason: one.patients for one in admitted.left_out}
    assert sum(filter(None, told.values())) == 4
    (censored,) = [reason for reason in told if reason.startswith(CENSORED)]
    assert told[censored] == 1
    assert "event by month 6 nor none by month 6" in censored
    assert evaluated.name == "known as yes or no: evaluated"
    assert evaluated.patients == 8


def test_admission_is_said_in_words(data: DictConfig) -> None:
    chosen = OmegaConf.merge(data, {"timepoints": ["pre", "day0"], "tissues": ["blood"]})
    assert admission_in_words(chosen) == (
        "sampled up to day 0 from infusion, of time point pre or day0, of tissue blood"
    )
    assert admission_in_words(OmegaConf.merge(data, {"decision_day": None})) == "any sample"
