"""Stages: the order of time points in time, by the days of the samples or as it was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["sample_days", "sample_words", "stage_of", "stages_by_day"]


def sample_words(samples: pd.DataFrame, column: str) -> np.ndarray[Any, np.dtype[np.object_]]:
    """(s) a column of the samples as text; empty where it is missing or not given."""
    if column not in samples:
        return np.full(len(samples), "", dtype=object)
    values = samples[column].astype(object)
    words: np.ndarray[Any, Any] = values.where(values.notna(), "").astype(str).to_numpy(object)
    return words


def sample_days(samples: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(s) days from infusion; NaN where not known."""
    if "day" not in samples:
        return np.full(len(samples), np.nan)
    days: np.ndarray[Any, Any] = pd.to_numeric(samples["day"], errors="coerce").to_numpy(float)
    return days


def stages_by_day(samples: pd.DataFrame) -> dict[str, int]:
    """The stage of each time point: its rank by the median day of its samples, 0 first.

    Time points of one median day share a stage. All are 0 where a time point has no day. Samples
    whose time point is not given have no stage, and turn nobody else's, unless none is given.
    """
    words = pd.Series(sample_words(samples, "timepoint"))
    given = words != "" if (words != "").any() else words == ""
    names = list(dict.fromkeys(words[given]))
    median = pd.Series(sample_days(samples))[given].groupby(words[given]).median()
    if median.isna().any():
        return dict.fromkeys(names, 0)
    rank = median.rank(method="dense").astype(int) - 1
    return {str(name): int(rank[name]) for name in median.sort_values(kind="stable").index}


def stage_of(timepoint: str, given: Sequence[str], fitted: Mapping[str, int]) -> int:
    """Stage of a time point: its place in `given`; else as `fitted`. Unknown ones come last.

    A sample without a time point among others that have one is before and after nothing: -1.
    """
    if not timepoint and (given or any(fitted)):
        return -1
    if given:
        return list(given).index(timepoint) if timepoint in given else len(given)
    return fitted.get(timepoint, 1 + max(fitted.values(), default=-1))
