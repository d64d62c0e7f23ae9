"""Endpoint values to 1, 0 and missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recart.data.checks import resolve_labels
from recart.data.checks.two_classes import TwoClasses
from recart.problems import InputError

NAN = np.nan


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["R", "NR", None], [1, 0, NAN]),
        (["CR", "nonCR", "CR"], [1, 0, 1]),
        (["Responder", "Non-responder"], [1, 0]),
        (["yes", "no", ""], [1, 0, NAN]),
        ([True, False], [1, 0]),
        ([1, 0, 1], [1, 0, 1]),
        ([1.0, 0.0, NAN], [1, 0, NAN]),
        (["1", "0"], [1, 0]),
        (["NR", "NR"], [0, 0]),
    ],
)
def test_common_pairs_are_recognised(values: list[object], expected: list[float]) -> None:
    labels = resolve_labels(pd.Series(values, dtype=object), None, None)
    np.testing.assert_array_equal(labels.to_numpy(), expected)
    assert labels.dtype == float


def test_lists_decide() -> None:
    values = pd.Series(["sCR", "VGPR", "PD", "NE"], index=list("abcd"))
    labels = resolve_labels(values, ["sCR"], ["VGPR", "PD"], ["NE"])
    assert labels.index.equals(values.index)
    np.testing.assert_array_equal(labels.to_numpy(), [1, 0, 0, NAN])


def test_lists_hold_numbers_that_the_table_reads_as_float() -> None:
    labels = resolve_labels(pd.Series([1.0, 2.0, NAN]), [1], [2])
    np.testing.assert_array_equal(labels.to_numpy(), [1, 0, NAN])


def test_other_class_follows_only_where_there_is_one_other_value() -> None:
    np.testing.assert_array_equal(resolve_labels(pd.Series(["BM", "PB"]), ["BM"], None), [1, 0])
    np.testing.assert_array_equal(resolve_labels(pd.Series(["BM", "PB"]), None, ["BM"]), [0, 1])
    with pytest.raises(InputError, match="E-LAB-005"):
        resolve_labels(pd.Series(["CR", "PR", "PD"]), ["CR"], None)


@pytest.mark.parametrize(
    "values", [["CR", "PR", "PD"], ["CR", "cr", "nonCR"], ["R", "NR", "NE"], ["high", "low"]]
)
def test_anything_else_asks_for_the_map(values: list[str]) -> None:
    with pytest.raises(InputError) as error:
        resolve_labels(pd.Series(values, name="response"), None, None)
    (problem,) = error.value.problems
    assert (problem.code, problem.column) == ("E-LAB-005", "response")
    assert all(repr(value) in problem.what for value in values)
    assert "data.positive" in problem.mend


def test_none_is_a_value_and_python_s_none_is_not() -> None:
    labels = resolve_labels(pd.Series(["none", "2", "None", None, "nan"]), ["2"], ["none"])
    np.testing.assert_array_equal(labels.to_numpy(), [0, 1, NAN, NAN, NAN])


def test_an_excluded_value_and_a_missing_one_have_reasons_of_their_own() -> None:
    classes = TwoClasses(column="response", exclude=["NE"])
    found = classes.resolve(pd.DataFrame({"response": ["R", "NE", None, "NR"]}))
    assert found["reason"].tolist() == ["", "not evaluable: NE", "no value of response", ""]


def test_value_in_two_lists() -> None:
    with pytest.raises(InputError, match=r"E-LAB-006.*CR listed in two"):
        resolve_labels(pd.Series(["CR", "PD"]), ["CR"], ["CR", "PD"])
    with pytest.raises(InputError, match="E-LAB-006"):
        resolve_labels(pd.Series(["CR", "PD"]), ["CR"], ["PD"], ["PD"])


def test_ne_is_not_the_other_class_when_excluded() -> None:
    labels = resolve_labels(pd.Series(["R", "NR", "NE"]), None, None, ["NE"])
    np.testing.assert_array_equal(labels.to_numpy(), [1, 0, NAN])
