"""Decision time: nothing that was taken or known later may enter a prediction."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import pandas as pd

from recart.data.covariates import column_of
from recart.data.store import CohortStore
from recart.evaluation.audit.check import Check
from recart.evaluation.audit.evaluated_bags import samples_of
from recart.evaluation.audit.finding import Finding, Severity

if TYPE_CHECKING:
    from recart.evaluation.launch import Evaluated
    from recart.training.run_directory import RunDirectory

__all__ = ["DecisionTime", "is_after"]

# Words of a time point after treatment, and a time that is counted without saying from which side.
_AFTER: Final = re.compile(
    r"(?:^|[^a-z])(post|after|relapse|remission|progress\w*|follow|fu|on.?treatment|eot)|"
    r"(?:^|[^a-z])(?:d|day|w|wk|week|m|mo|month|y|year)[ _.+]*0*[1-9]\d*",
    re.IGNORECASE,
)
_COUNTED: Final = re.compile(
    r"(?:^|[^\w.-]|_)0*[1-9]\d*[ _-]?(?:d|days?|w|wks?|weeks?|m|mo|months?|y|yrs?|years?)(?![a-z])",
    re.IGNORECASE,
)
_BEFORE: Final = re.compile(r"pre|before|prior", re.IGNORECASE)
_UNUSED: Final = "no part of recart reads it; keep it out of the covariates"


@final
@dataclass(frozen=True, kw_only=True)
class DecisionTime(Check):
    """Days of the samples that entered against the day of decision, and columns of later times.

    `later` holds words in names of columns that say when something happened after treatment, such
    as `relapse`, or `followup` for `follow_up` too: nobody knows them at the decision.
    """

    later: Sequence[str]

    @property
    def name(self) -> str:
        """Name in tables."""
        return "time"

    @property
    def trains(self) -> bool:
        """It only reads."""
        return False

    def findings(self, evaluated: Evaluated, run: RunDirectory) -> Iterator[Finding]:  # noqa: ARG002
        """Samples after the decision; a missing decision; columns of later times."""
        cohort = evaluated.cohort
        store, bags = cohort.store, cohort.bags
        entered = sorted({s for n in range(len(bags)) for s in samples_of(store, bags, n)})
        samples = store.samples.iloc[entered]
        decision = evaluated.config.data.decision_day
        day = None
        if "day" in samples:
            day = pd.to_numeric(samples["day"], errors="coerce").to_numpy(dtype=float)
        if decision is not None:
            yield self._against(day, float(decision), len(samples))
        else:
            yield self._undecided(samples, day)
        there = [*map(str, store.patients.columns), *map(str, store.samples.columns)]
        used = [column_of(str(name), there) for name in cohort.extras.columns]
        yield from self._later(store, decision, used)

    def _against(self, day: Any, decision: float, count: int) -> Finding:
        if day is None:
            return self._finding(
                "A-TI-002",
                Severity.UNKNOWN,
                f"the samples have no day to hold against the decision on day {decision:g}",
                "map it with data.columns.day",
            )
        late, unknown = int((day > decision).sum()), int(np.isnan(day).sum())
        if late or unknown:
            return self._finding(
                "A-TI-001",
                Severity.LEAK,
                f"of {count} samples that entered {late} are from after the decision on day "
                f"{decision:g}, and of {unknown} the day is not known",
                "leave them out: data.decision_day does so when bags are made",
                late=late,
                unknown=unknown,
            )
        return self._finding(
            "A-TI-001",
            Severity.PASSED,
            f"all {count} samples that entered are from day {decision:g} or before",
            latest_day=float(day.max()) if count else None,
        )

    def _undecided(self, samples: pd.DataFrame, day: Any) -> Finding:
        """No decision day is set: whether samples from after the treatment enter."""
        after = np.zeros(len(samples), dtype=bool)
        known = day is not None and bool(np.isfinite(day).any())
        if known:
            after |= np.nan_to_num(day, nan=0.0) > 0
        if "timepoint" in samples:
            known = True
            words = samples["timepoint"].astype(str)
            after |= words.map(is_after).to_numpy(dtype=bool)
        if not known:
            return self._finding(
                "A-TI-002",
                Severity.UNKNOWN,
                "no decision day is set and the samples have neither day nor time point",
                "map data.columns.day and set data.decision_day",
            )
        if not after.any():
            return self._finding(
                "A-TI-002",
                Severity.PASSED,
                f"no decision day is set, and none of {len(samples)} samples is from after "
                "treatment",
            )
        return self._finding(
            "A-TI-002",
            Severity.WARNING,
            f"no decision day is set, and {int(after.sum())} of {len(samples)} samples that "
            "entered are from after treatment: the response may be read from what it has caused",
            "set data.decision_day, or data.timepoints; a claim then holds for that day",
            after=int(after.sum()),
        )

    def _later(self, store: CohortStore, decision: Any, used: Sequence[str]) -> Iterator[Finding]:
        found = []
        for table in (store.patients, store.samples):
            for column in table.columns:
                words = re.split(r"[^a-z]+", _spaced(str(column)))
                words += [one + other for one, other in pairwise(words)]  # follow_up
                if any(part in words for part in self.later):
                    found.append((str(column), table[column]))
        enter = sorted({name for name, _ in found} & set(used))
        if enter:
            yield self._finding(
                "A-TI-003",
                Severity.LEAK,
                f"bag features tell of times after the decision: {', '.join(enter)}",
                "take them out of the bag features",
                columns=enter,
            )
        past = (
            [] if decision is None else [n for n, v in found if _known_before(v, float(decision))]
        )
        if past:
            yield self._finding(
                "A-TI-004",
                Severity.WARNING,
                f"for some patients {', '.join(past)} lies on or before the decision day: their "
                "outcome was known by then",
                "leave these patients out, or set an earlier data.decision_day",
                columns=past,
            )
        if not enter:
            names = sorted({name for name, _ in found})
            yield self._finding(
                "A-TI-003",
                Severity.PASSED,
                f"columns of later times: {', '.join(names) or 'none'}"
                + (f"; {_UNUSED}" if names else ""),
                columns=names,
            )


def is_after(timepoint: str) -> bool:
    """Whether the name of a time point says that it is after treatment."""
    counted = _COUNTED.search(timepoint) and not _BEFORE.search(timepoint)
    return bool(counted or _AFTER.search(timepoint))


def _spaced(name: str) -> str:
    """`relapseDay` and `PFS_days` as words in lower case."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _known_before(values: pd.Series[Any], decision: float) -> bool:
    """Whether a column of days holds one on or before the decision; 0/1 flags are no days."""
    days = pd.to_numeric(values, errors="coerce").dropna()
    return bool(days.nunique() > 2 and (days <= decision).any())
