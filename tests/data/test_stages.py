"""The order of time points: by median days, shared where equal, unknown where a day is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recart.data.stages import sample_words, stage_of, stages_by_day


def _samples(*rows: tuple[str | None, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["timepoint", "day"])


def test_median_day_orders_and_equal_days_share() -> None:
    # "d30" has one early outlier, which a mean would follow
    table = _samples(("d30", 30), ("d30", 31), ("d30", -900), ("pre", -60), ("product", 0))
    assert stages_by_day(table) == {"pre": 0, "product": 1, "d30": 2}
    both = stages_by_day(_samples(("marrow", 30), ("blood", 30), ("pre", -9)))
    assert both == {"pre": 0, "marrow": 1, "blood": 1}


def test_without_a_day_nothing_is_ordered() -> None:
    assert stages_by_day(_samples(("pre", -60), ("post", np.nan))) == {"pre": 0, "post": 0}
    assert stages_by_day(_samples(("pre", -60), ("post", 5))[["timepoint"]]) == {
        "pre": 0,
        "post": 0,
    }


def test_a_sample_without_a_time_point_turns_nobody_elses_stage() -> None:
    rows = [("pre", -60.0), ("post", 30.0)]
    for lacking in ((None, np.nan), (None, -90.0), ("", 0.0)):
        fitted = stages_by_day(_samples(*rows, lacking))
        assert fitted == {"pre": 0, "post": 1}
        assert stage_of("", [], fitted) == stage_of("", ["pre", "post"], fitted) == -1
    # where none is given, all are of one stage
    assert stages_by_day(_samples((None, 0), (None, 30))) == {"": 0}
    assert stage_of("", [], {"": 0}) == 0


def test_given_order_wins_and_the_unknown_comes_last() -> None:
    fitted = {"pre": 0, "post": 1}
    assert [stage_of(word, ["post", "pre"], fitted) for word in ("post", "pre", "late")] == [
        0,
        1,
        2,
    ]
    assert [stage_of(word, [], fitted) for word in ("pre", "post", "late")] == [0, 1, 2]
    assert stage_of("any", [], {}) == 0


def test_missing_words_are_empty() -> None:
    table = _samples(("pre", 0), (None, 1))
    assert list(sample_words(table, "timepoint")) == ["pre", ""]
    assert list(sample_words(table.astype({"timepoint": "category"}), "timepoint")) == ["pre", ""]
    assert list(sample_words(table, "tissue")) == ["", ""]
