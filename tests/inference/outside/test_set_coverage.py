"""Prediction sets against the truth: what counts as held, and what is not counted."""

from __future__ import annotations

import pandas as pd
import pytest

from recart.inference.outside.set_coverage import set_coverage

NAMES = ("CR", "no CR")


def table(*sets: str, **columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"set_80": list(sets), "set_90": [""] * len(sets), **columns})


def test_a_set_holds_what_stands_in_it() -> None:
    told = table("{R}", "{R}", "{R, NR}: cannot say", "{}: like neither", "{NR}", "")
    (found,) = set_coverage(told, [1, 0, 0, 1, 0, 1], NAMES)  # nobody has a set at 90 %
    assert found.level == 0.8
    assert found.bags == 5  # the last has no set
    assert found.covered == pytest.approx(3 / 5)
    assert found.by_class == {"CR": (2, 0.5), "no CR": (3, pytest.approx(2 / 3))}
    assert found.mean_size == pytest.approx(1.0)
    assert found.single == pytest.approx(3 / 5)
    assert found.empty == pytest.approx(1 / 5)
    assert found.interval is not None
    assert 0.2 < found.interval.low < found.covered < found.interval.high < 0.9


def test_samples_of_one_patient_are_no_independent_counts() -> None:
    sets = ["{R}", "{NR}", "{R}"]
    (alone,) = set_coverage(table(*sets, patient=["a", "b", "c"]), [1, 1, 1], NAMES)
    (twice,) = set_coverage(table(*sets, patient=["a", "a", "b"]), [1, 1, 1], NAMES)
    assert alone.interval is not None
    assert twice.interval is None
    assert alone.covered == twice.covered
    assert alone.by_class["no CR"] == (0, None)


def test_without_sets_nothing_is_told() -> None:
    assert set_coverage(pd.DataFrame({"probability": [0.5]}), [1], NAMES) == []
    assert set_coverage(table("", ""), [1, 0], NAMES) == []
    assert set_coverage(table(), [], NAMES) == []
