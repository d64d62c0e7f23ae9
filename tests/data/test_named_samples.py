"""Time points and tissues that a configuration names: misspelt ones are told, not passed over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from recart.data.bags import Admission
from recart.data.selection import check_selection, without_order
from recart.data.store import CohortStore
from recart.problems import InputError

MakeStore = Callable[..., CohortStore]


@pytest.fixture
def store(make_store: MakeStore) -> CohortStore:
    """Six samples: two of product, d7 and d28 each."""
    own = make_store(patients=3)
    samples = own.samples.assign(
        timepoint=["product", "d7", "d28"] * 2, day=[-1.0, 7.0, 28.0] * 2, tissue="blood"
    )
    return replace(own, samples=samples)


def test_a_selection_that_no_sample_has_names_the_nearest(store: CohortStore) -> None:
    with pytest.raises(InputError, match="nearest: product") as caught:
        check_selection(store, Admission(timepoints=["prodct", "d7"], tissues=["blod"]), [])
    found = caught.value.problems
    assert [(p.code, p.column, p.feature) for p in found] == [
        ("E-TIME-003", "data.timepoints", "prodct"),
        ("E-TIME-003", "data.tissues", "blod"),
    ]
    check_selection(store, Admission(timepoints=["product", "d7"], tissues=["blood"]), [])


def test_an_order_that_lacks_a_time_point_of_the_samples_is_refused(store: CohortStore) -> None:
    with pytest.raises(InputError, match="correct prodct") as caught:
        check_selection(store, Admission(), ["prodct", "d7", "d28"])
    (found,) = caught.value.problems
    assert (found.code, found.feature, found.count) == ("E-TIME-004", "product", 2)
    with pytest.raises(InputError, match="put it in its place"):
        check_selection(store, Admission(), ["product", "d28"])  # where d7 would come after d28


def test_an_order_may_name_more_than_there_is_and_less_than_stays_out(store: CohortStore) -> None:
    check_selection(store, Admission(), ["apheresis", "product", "d7", "d28", "d90"])
    check_selection(store, Admission(decision_day=7), ["product", "d7"])
    check_selection(store, Admission(timepoints=["product", "d28"]), ["product", "d28"])


def test_what_keeps_samples_from_being_compared_over_time_is_told(store: CohortStore) -> None:
    own = store.samples.assign(patient=[0, 0, 0, 1, 1, 2])

    def told(admission: Admission | None = None, *stages: str, **columns: object) -> str:
        samples = own.assign(**columns)
        return without_order(replace(store, samples=samples), admission or Admission(), stages)

    assert told() == ""
    undated = [np.nan, 7.0, 28.0] * 2
    assert told(day=undated).startswith("samples of 2 patients lie at several time points")
    assert "product have no day" in told(day=undated)
    assert told(None, "product", "d7", "d28", day=undated) == ""
    assert told(Admission(timepoints=["d7"]), day=undated) == ""
    assert "all lie on one" in told(day=0.0)
    nameless = told(timepoint=None)
    assert nameless.startswith("samples of 2 patients have several days and no time point")
    assert told(Admission(decision_day=0), timepoint=None) == ""
