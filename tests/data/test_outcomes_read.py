"""Levels and times in the tables of a cohort: simulated with their truth, checked, dealt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from recart.data.checks.cohort import check_cohort
from recart.data.checks.limits import Limits
from recart.data.cohort import Cohort
from recart.data.folds.dealing import deal
from recart.data.simulate import Outcomes, SimulatedCohort
from recart.problems import InputError
from recart.training.endpoints import OrdinalEndpoint, SurvivalEndpoint

LEVELS = ["PD", "SD", "PR", "VGPR", "CR", "sCR"]
LIMITS = Limits(min_median_umi=1, min_cells=2, min_per_class=4)
ORDINAL = OrdinalEndpoint(column="best_response", levels=LEVELS, cut="VGPR", exclude=["NE"])
SURVIVAL = SurvivalEndpoint(time="pfs_months", event="pfs_event", months=[6.0, 12.0], landmark=12.0)


def reader(patients: int, outcomes: Outcomes | None) -> SimulatedCohort:
    return SimulatedCohort(
        patients=patients, cells_per_sample=10, genes=170, strength=1.0, outcomes=outcomes
    )


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return reader(60, Outcomes(survival=True, not_evaluable=0.1)).read()


def check(cohort: Cohort, endpoint: OrdinalEndpoint | SurvivalEndpoint) -> list[str]:
    try:
        check_cohort(cohort, endpoint=endpoint.columns[0], limits=LIMITS, outcome=endpoint)
    except InputError as error:
        return [problem.code for problem in error.problems if problem.code.startswith("E-LAB")]
    return []


def test_the_truth_of_outcomes_orders_levels_and_times() -> None:
    simulated, truth = reader(400, Outcomes(survival=True, crs=True)).simulate()
    table, propensity = simulated.patients, truth.patients["propensity"].to_numpy()
    assert "response" not in table
    level = table["best_response"].map(LEVELS.index).to_numpy()
    # levels are groups by rank of the propensity, and nothing else
    for number in range(len(LEVELS) - 1):
        assert propensity[level <= number].max() < propensity[level > number].min()
    assert spearmanr(truth.patients["oracle"], propensity).statistic > 0.7
    event = table["pfs_event"] == 1
    assert spearmanr(table["pfs_months"][event], propensity[event]).statistic > 0.25
    assert 0.3 < event.mean() < 0.8
    assert abs(spearmanr(table["crs_grade"].astype(int), propensity).statistic) < 0.15


def test_without_outcomes_the_cohort_is_as_before() -> None:
    plain = reader(8, None).read()
    assert list(plain.patients.columns) == ["response", "product", "age", "ldh", "prior_lines"]


def test_a_sound_cohort_passes(cohort: Cohort) -> None:
    assert check(cohort, ORDINAL) == []
    assert check(cohort, SURVIVAL) == []


def test_each_way_to_be_wrong_has_its_code(cohort: Cohort) -> None:
    table = cohort.patients
    absent = replace(SURVIVAL, event="progressed")
    assert check(cohort, absent) == ["E-LAB-001"]
    few = replace(SURVIVAL, months=[60.0], landmark=60.0)
    assert check(cohort, few) == ["E-LAB-004"]
    odd = replace(cohort, patients=table.assign(best_response=["?"] + ["CR"] * 59))
    assert check(odd, ORDINAL) == ["E-LAB-005"]
    early = replace(cohort, patients=table.assign(pfs_months=-1.0))
    assert check(early, SURVIVAL) == ["E-LAB-009"]


def test_an_event_that_stands_in_one_sample_only_is_no_contradiction(cohort: Cohort) -> None:
    samples = cohort.samples.copy()
    first = ~samples["patient"].duplicated()
    for name in ("pfs_months", "pfs_event"):
        samples[name] = samples["patient"].map(cohort.patients[name])
    samples["pfs_event"] = samples["pfs_event"].where(first)
    patients = cohort.patients.drop(columns=["pfs_months", "pfs_event"])
    assert check(replace(cohort, patients=patients, samples=samples), SURVIVAL) == []


def test_a_value_that_is_left_out_beside_a_class_is_a_contradiction(cohort: Cohort) -> None:
    samples = cohort.samples.copy()
    two = samples["patient"].value_counts().loc[lambda n: n > 1].index[:2]
    value = samples["patient"].map(cohort.patients["best_response"]).replace({"NE": "PD"})
    places = [samples.index[samples["patient"] == own][0] for own in two]
    patients = cohort.patients.drop(columns="best_response")
    blank = value.copy()
    blank[places] = None  # not given there: what the other sample says stands
    given = replace(cohort, patients=patients, samples=samples.assign(best_response=blank))
    assert check(given, ORDINAL) == []
    for place in (0, -1):  # whichever of the samples it is
        places = [samples.index[samples["patient"] == own][place] for own in two]
        mixed = value.copy()
        mixed[places] = "NE"
        given = replace(cohort, patients=patients, samples=samples.assign(best_response=mixed))
        assert check(given, ORDINAL) == ["E-LAB-002"] * 2


def test_the_message_of_a_missing_column_names_the_nearest(cohort: Cohort) -> None:
    with pytest.raises(InputError, match="pfs_event"):
        check_cohort(
            cohort,
            endpoint="pfs_months",
            limits=LIMITS,
            outcome=replace(SURVIVAL, event="pfs_evnt"),
        )


def test_folds_are_even_in_levels() -> None:
    rng = np.random.default_rng(0)
    level = np.repeat(np.arange(6), 10)
    stratum = np.where(level >= 3, 0, 2)
    fold = deal(stratum, 5, rng, level)
    for number in range(6):
        np.testing.assert_array_equal(np.bincount(fold[level == number], minlength=5), 2)
    # without levels the deal is what it was
    np.testing.assert_array_equal(
        deal(stratum, 5, np.random.default_rng(1)),
        deal(stratum, 5, np.random.default_rng(1), np.zeros(60, dtype=np.int64)),
    )
