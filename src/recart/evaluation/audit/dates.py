"""Dates as numbers: as words each stands for itself, and no order of them would be seen."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

__all__ = ["with_days"]

_FORMATS: Final = ("ISO8601", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y")
_DAY: Final = pd.Timedelta(days=1)


def with_days(table: pd.DataFrame) -> pd.DataFrame:
    """The table, and beside each column of dates its days since 1970, NaN where there is none."""
    days = {f"days of {name}": _days(values) for name, values in table.items()}
    found = {name: own for name, own in days.items() if own is not None}
    return table.assign(**found)


def _days(values: pd.Series[Any]) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """None where a value is no date; numbers are none."""
    known = values.notna().to_numpy()
    if pd.api.types.is_numeric_dtype(values) or not known.any():
        return None
    text = values[known].astype(str)
    for form in _FORMATS:
        date = pd.to_datetime(text, format=form, errors="coerce", utc=True)
        if date.notna().all():
            days = np.full(len(values), np.nan)
            days[known] = (date - pd.Timestamp(0, tz="UTC")) / _DAY
            return days
    return None
