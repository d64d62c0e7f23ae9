"""Dates become days where all of a column are dates, and nothing else does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recart.evaluation.audit.dates import with_days


@pytest.mark.parametrize(
    ("words", "apart"),
    [
        (["2020-01-31", "2020-02-02", None], 2),
        (["2020-01-31T12:00", "2020-02-02T12:00"], 2),
        (["31.01.2020", "02.02.2020"], 2),
        (["01/31/2020", "02/02/2020"], 2),
        ([pd.Timestamp("2020-01-31"), pd.Timestamp("2020-02-02"), pd.NaT], 2),
        (["2020-01-31", "early"], None),
        (["A", "B"], None),
        ([20200131, 20200202], None),
        ([None, None], None),
    ],
)
def test_dates_are_days_apart(words: list[object], apart: int | None) -> None:
    table = pd.DataFrame({"seen": words})
    found = with_days(table)
    if apart is None:
        assert list(found) == ["seen"]
        return
    days = found["days of seen"].to_numpy()
    assert days[1] - days[0] == apart
    assert np.isnan(days[2:]).all()
