"""Outcomes with more to them than response or none: levels, survival, toxicity, and their truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.simulate.streams import stream
from recart.problems import Problem, Problems

__all__ = ["Outcomes"]

Floats = np.ndarray[Any, np.dtype[np.float64]]

# levels of response, worst first, and the share of patients in each: assumed
_LEVELS: Final = ("PD", "SD", "PR", "VGPR", "CR", "sCR")
_SHARES: Final = (0.15, 0.1, 0.15, 0.2, 0.2, 0.2)
_CRS_SHARES: Final = (0.15, 0.35, 0.3, 0.15, 0.05)
# mean of a half-normal number: what makes the mean propensity of responders that of the binary one
_HALF_NORMAL: Final = float(np.sqrt(2 / np.pi))


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Which outcomes the patient table has instead of `response`.

    Every patient has a propensity: above 0 with CR, below 0 without, as far from it on average as
    the two groups of the binary outcome, half a unit. The cells know the propensity.

    Attributes
    ----------
    levels
        `best_response`: PD < SD < PR < VGPR < CR < sCR, by rank of the propensity. `not_evaluable`
        of the patients are NE.
    survival
        `pfs_months` and `pfs_event`: an exponential time of median `median_months` at propensity 0,
        whose log hazard falls by `log_hazard` a unit, against uniform censoring up to
        `censored_by` months.
    crs
        `crs_grade`, 0 to 4, unrelated to propensity.
    """

    levels: bool = True
    survival: bool = False
    crs: bool = False
    not_evaluable: float = 0.0
    median_months: float = 12.0
    log_hazard: float = 2.0
    censored_by: float = 36.0

    def __post_init__(self) -> None:
        """Refuse shares and times that are none."""
        problems = Problems()
        for name, sound in (
            ("not_evaluable", 0 <= self.not_evaluable < 1),
            ("median_months", self.median_months > 0),
            ("censored_by", self.censored_by > 0),
            ("log_hazard", self.log_hazard >= 0),
        ):
            if not sound:
                problems.error(
                    Problem(
                        code="E-SIM-001",
                        what=f"outcomes.{name} is {getattr(self, name)}",
                        mend="give a share from 0 to below 1, times above 0, an effect from 0 on",
                    )
                )
        problems.raise_if_any()

    def propensity(self, patients: pd.DataFrame, seed: int) -> Floats:
        """(patient) propensity, whose sign is the binary response."""
        z = np.abs(stream(seed, "propensity").standard_normal(len(patients)))
        side = np.where(patients["response"] == "CR", 0.5, -0.5)
        propensity: Floats = side * z / _HALF_NORMAL
        return propensity

    def write(self, patients: pd.DataFrame, propensity: Floats, seed: int) -> pd.DataFrame:
        """The patient table with these outcomes and without `response`."""
        table, n = patients.drop(columns="response"), len(patients)
        if self.levels:
            level = np.array(_LEVELS, dtype=object)[_by_rank(propensity, _SHARES)]
            lost = stream(seed, "not evaluable").random(n) < self.not_evaluable
            table["best_response"] = np.where(lost, "NE", level)
        if self.survival:
            hazard = np.log(2) / self.median_months * np.exp(-self.log_hazard * propensity)
            time = stream(seed, "progression").exponential(1 / hazard)
            censored = stream(seed, "censoring").uniform(0, self.censored_by, n)
            table["pfs_months"] = np.minimum(time, censored).round(2).clip(0.01)
            table["pfs_event"] = (time <= censored).astype(np.int64)
        if self.crs:
            grade = _by_rank(stream(seed, "crs").random(n), _CRS_SHARES)
            table["crs_grade"] = grade.astype(str)
        return table


def _by_rank(value: Floats, shares: tuple[float, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Group of each value: the lowest are in the first, as many as its share says."""
    rank = np.argsort(np.argsort(value))
    ends = np.round(np.cumsum(shares) * len(value))
    return np.searchsorted(ends[:-1], rank, side="right")
