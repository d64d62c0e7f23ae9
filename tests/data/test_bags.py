"""Bags: which samples may enter a prediction, and what the flow says of those that may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recart.data.bags import (
    AFTER,
    NOT_SELECTED,
    OF_UNKNOWN_DAY,
    Admission,
    Reading,
    admitted_samples,
    make_bags,
)
from recart.data.store import CohortStore
from recart.problems import InputError
from recart.training.cohort_setup import outcome_bags
from recart.training.endpoints import (
    OrdinalEndpoint,
    SeveralEndpoints,
    SurvivalEndpoint,
    endpoint_of,
)

MakeStore = Callable[..., CohortStore]


@pytest.fixture
def store(make_store: MakeStore) -> CohortStore:
    """Four patients, two samples each."""
    own = make_store(patients=4)
    samples = own.samples.assign(
        day=[-30.0, 30.0, 0.0, 90.0, np.nan, 7.0, 8.0, 90.0],
        timepoint=["pre", "post"] * 4,
        tissue=pd.Categorical(["blood", "marrow"] * 2 + ["marrow", None] * 2),
    )
    return replace(own, samples=samples)


LABELS = pd.Series([1.0, 0.0, np.nan, 1.0])


@pytest.mark.parametrize(
    ("admission", "kept"),
    [
        (Admission(), [0, 1, 2, 3, 4, 5, 6, 7]),
        (Admission(decision_day=7), [0, 2, 5]),  # day 7 itself may enter, unknown days may not
        (Admission(decision_day=-31), []),
        (Admission(timepoints=["pre"]), [0, 2, 4, 6]),
        (Admission(tissues=["marrow"]), [1, 3, 4, 6]),
        (Admission(decision_day=40, timepoints=["post"], tissues=["marrow"]), [1]),
    ],
)
def test_rules(store: CohortStore, admission: Admission, kept: list[int]) -> None:
    assert np.flatnonzero(admitted_samples(store, admission)).tolist() == kept


def test_days_as_text_are_read(store: CohortStore) -> None:
    days = ["-30", "30", "0", "n/a", "", "7", "8", "90"]
    text = replace(store, samples=store.samples.assign(day=days))
    kept = np.flatnonzero(admitted_samples(text, Admission(decision_day=7)))
    assert kept.tolist() == [0, 2, 5]


def test_absent_columns_are_errors_all_at_once(store: CohortStore) -> None:
    bare = replace(store, samples=store.samples.drop(columns=["day", "tissue"]))
    with pytest.raises(InputError, match="E-TIME-001") as caught:
        admitted_samples(bare, Admission(decision_day=1, timepoints=["pre"], tissues=["blood"]))
    assert [p.column for p in caught.value.problems] == ["day", "tissue"]


def test_patient_bags(store: CohortStore) -> None:
    bags = make_bags(store, LABELS, unit="patient", admission=Admission(decision_day=7))
    assert list(bags.table.index) == [store.patients.index[p] for p in (0, 1, 2)]
    assert list(bags.table["label"]) == [1, 0, -1]
    assert bags.slices == tuple((store.sample_slice(s),) for s in (0, 2, 5))
    assert bags.flow == {
        "samples": 8,
        "samples after the decision day": 4,
        "samples of unknown day": 1,
        "samples of other time points or tissues": 0,
        "patients without an admitted sample": 1,
        "patients without a label": 1,
    }
    for n, (own,) in enumerate(bags.slices):
        assert bags.table["n_cells"].iloc[n] == own.stop - own.start
        assert (store.cells["patient"].iloc[own] == bags.table["patient"].iloc[n]).all()


def test_all_cells_are_in_exactly_one_bag(store: CohortStore) -> None:
    for unit, labels in (("patient", LABELS), ("sample", pd.Series(np.ones(8)))):
        bags = make_bags(store, labels, unit=unit, admission=Admission())
        cells = bags.cells(np.arange(len(bags)))
        np.testing.assert_array_equal(cells, np.arange(len(store.cells)))
        assert bags.table["n_cells"].sum() == len(store.cells)
    assert bags.cells([]).tolist() == []


def test_sample_bags(store: CohortStore) -> None:
    labels = pd.Series([1, 0, 1, 0, np.nan, 0, 1, 1], dtype=float)
    bags = make_bags(store, labels, unit="sample", admission=Admission(decision_day=7))
    assert list(bags.table.index) == [store.samples.index[s] for s in (0, 2, 5)]
    assert list(bags.table["label"]) == [1, 1, 0]
    assert list(bags.table["patient"]) == [0, 1, 2]
    assert (bags.flow[AFTER], bags.flow[OF_UNKNOWN_DAY], bags.flow[NOT_SELECTED]) == (4, 1, 0)
    assert bags.flow["samples"] == 8
    assert bags.flow["patients without an admitted sample"] == 1
    assert bags.flow["samples without a label"] == 0
    assert bags.of_patients([2, 0]).tolist() == [0, 2]


def test_nothing_left_is_an_error(store: CohortStore) -> None:
    with pytest.raises(InputError, match="E-TIME-002"):
        make_bags(store, LABELS, unit="patient", admission=Admission(decision_day=-99))


def test_an_outcome_leaves_out_by_rule_counts_why_and_keeps_its_times(store: CohortStore) -> None:
    outcome = SurvivalEndpoint(time="pfs", event="event", months=[6.0], landmark=6.0)
    values = pd.DataFrame(
        {"pfs": [0.0, 8.0, None, 3.0], "event": [0, 1, 1, 0]}, index=store.patients.index
    )
    resolved = outcome.resolve(values)
    bags = make_bags(
        store,
        resolved["label"],
        unit="patient",
        admission=Admission(),
        outcome=outcome,
        resolved=resolved,
    )
    # censored at day 0 and without a time: neither event nor censored
    assert list(bags.table["label"]) == [-1, 1, -1, 0]
    np.testing.assert_array_equal(bags.table["time"], [0, 8, np.nan, 3])
    assert bags.flow["censored before the window began (time 0)"] == 1
    assert bags.flow["no pfs or event, or not evaluable"] == 1
    assert endpoint_of(bags) is outcome
    assert "patients without a label" not in bags.flow


def test_whom_a_part_leaves_out_is_counted_by_its_rule(store: CohortStore) -> None:
    crs = OrdinalEndpoint(column="crs", levels=["0", "1", "2"], cut="2", exclude=["NE"])
    leading = OrdinalEndpoint(column="best", levels=["PD", "CR"], cut="CR")
    outcome = SeveralEndpoints(parts={"response": leading, "crs": crs})
    values = pd.DataFrame(
        {"best": ["PD", "CR", "CR", None], "crs": ["2", "NE", None, "NE"]},
        index=store.patients.index,
    )
    told = replace(store, patients=store.patients.join(values))
    bags = outcome_bags(told, outcome, "patient", Admission(), Reading())
    # the last patient is out for want of a response, whatever else is lacking
    assert bags.flow["no value of best"] == 1
    assert bags.flow["crs: not evaluable: NE"] == 1
    assert bags.flow["crs: no value of crs"] == 1
    assert bags.table["label:crs"].tolist() == [2, -1, -1, -1]
    assert not [name for name in bags.table if str(name).startswith("reason")]
