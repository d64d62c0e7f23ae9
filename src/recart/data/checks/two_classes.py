"""A binary outcome as the tables hold it: values that mean yes, values that mean no."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import pandas as pd

from recart.data.checks.labels import plain_value, resolve_labels
from recart.data.outcome import LABEL, REASON, Outcome
from recart.problems import Problem

__all__ = ["TwoClasses"]

_CLASSES: Final = (("positive", 1.0), ("negative", 0.0))


@final
@dataclass(frozen=True, kw_only=True)
class TwoClasses(Outcome):
    """`column` holds the values; the lists say what they mean, see `resolve_labels`."""

    column: str
    positive: Sequence[Any] | None = None
    negative: Sequence[Any] | None = None
    exclude: Sequence[Any] = ()

    @property
    def columns(self) -> Sequence[str]:
        """The one column."""
        return (self.column,)

    def resolve(self, values: pd.DataFrame) -> pd.DataFrame:
        """1, 0 and NaN, the values of `exclude` told from missing ones."""
        labels = resolve_labels(
            values[self.column], self.positive, self.negative, list(self.exclude)
        )
        text = values[self.column].map(plain_value, na_action="ignore").astype(object)
        excluded = text.isin([plain_value(v) for v in self.exclude]).to_numpy()
        why = np.where(excluded, "not evaluable: " + text.astype(str), f"no value of {self.column}")
        return pd.DataFrame(
            {LABEL: labels, REASON: np.where(labels.isna(), why, "")}, index=values.index
        )

    def too_few(self, resolved: pd.DataFrame, at_least: int) -> list[Problem]:
        """Each class needs `at_least` patients."""
        count = {name: int((resolved[LABEL] == code).sum()) for name, code in _CLASSES}
        problems = []
        if min(count.values()) == 0:
            problems.append(
                Problem(
                    code="E-LAB-003",
                    what=f"{count['positive']} positive and {count['negative']} negative patients",
                    mend=f"both classes need at least {at_least} patients",
                    column=self.column,
                    count=sum(count.values()),
                )
            )
        problems += [
            Problem(
                code="E-LAB-004",
                what=f"{number} {name} patients; cross-validation needs at least "
                f"{at_least} in each class",
                mend="add patients, or choose an endpoint with more balanced classes",
                column=self.column,
                count=number,
            )
            for name, number in count.items()
            if 0 < number < at_least
        ]
        return problems

    def stratified_by(self, table: pd.DataFrame) -> tuple[Any, Any]:
        """The class, and nothing beside it."""
        labels = table[LABEL].to_numpy()
        return labels, np.zeros(len(labels), dtype=np.int64)
