"""How well a model ranks within parts of the patients: by sex, place, product, batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.split import Kind
from recart.data.store import CohortStore
from recart.evaluation.audit.evaluated_bags import samples_of
from recart.evaluation.claims import MIN_PER_CLASS
from recart.evaluation.intervals import Interval, auroc_interval, delong_variance
from recart.evaluation.metrics import metrics
from recart.evaluation.predictions import BagScores

__all__ = ["SUBGROUPS", "Subgroup", "subgroups"]

# columns whose values are looked at one by one, as far as a cohort has them
SUBGROUPS: Final = (
    *("sex", "gender", "ethnicity", "race", "age_group"),
    *("site", "centre", "center", "hospital", "product", "batch"),
)
_MOST: Final = 12  # values of a column; more are no groups
_MISSING: Final = "not given"


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """Patients with one value of a column.

    Attributes
    ----------
    column, value
        Which they are; `value` is a count of values where a column has too many.
    negative, positive
        Patients of each class.
    auroc, interval
        Of the same scores, among these alone; None where refused.
    observed, expected
        Share of positive bags, and their mean probability; None where refused.
    refusal
        Why nothing is given.
    """

    column: str
    value: str
    negative: int
    positive: int
    auroc: float | None = None
    interval: Interval | None = None
    observed: float | None = None
    expected: float | None = None
    refusal: str = ""


def subgroups(
    scores: BagScores, store: CohortStore, bags: Bags, columns: Sequence[str]
) -> tuple[Subgroup, ...]:
    """Each value of each column that the patients or samples have.

    Parameters
    ----------
    scores
        Held-out scores of the model.
    store, bags
        Where the bags of the scores come from.
    columns
        Columns of the patients or samples; those that are not there are passed over. A bag whose
        samples differ in one is of `a | b`.
    """
    rows = bags.table.index.astype(str).get_indexer(scores.table.index.astype(str))
    found: list[Subgroup] = []
    refused = metrics(scores).refusal
    for column in columns:
        values = _values(store, bags, rows, column)
        if values is None:
            continue
        levels = sorted(set(values))
        if len(levels) > _MOST:
            negative, positive = _patients(scores)
            found.append(
                Subgroup(
                    column=column,
                    value=f"{len(levels)} values",
                    negative=negative,
                    positive=positive,
                    refusal=f"more than {_MOST} values are no groups",
                )
            )
            continue
        found += [_one(scores, column, level, values == level, refused) for level in levels]
    return tuple(found)


def _one(
    scores: BagScores, column: str, value: str, inside: np.ndarray[Any, Any], refused: str
) -> Subgroup:
    table = scores.table[inside]
    folds = scores.folds[scores.folds["bag"].isin(table.index)]
    own = replace(scores, table=table, folds=folds)
    negative, positive = _patients(own)
    of = Subgroup(column=column, value=value, negative=negative, positive=positive)
    if min(negative, positive) < MIN_PER_CLASS:
        return replace(of, refusal=f"too few: fewer than {MIN_PER_CLASS} patients of a class")
    if scores.kind is Kind.PAIRS:
        return replace(of, refusal="only patients of a pair were compared with each other")
    if refused:
        return replace(of, refusal="no AUROC is given of all patients either")
    return replace(
        of,
        auroc=delong_variance(own.y, own.score, own.patients)[0],
        interval=auroc_interval(own),
        observed=float(own.y.mean()),
        expected=float(own.probability.mean()),
    )


def _patients(scores: BagScores) -> tuple[int, int]:
    by_class = scores.table.groupby("y")["patient"].nunique()
    return int(by_class.get(0, 0)), int(by_class.get(1, 0))


def _values(
    store: CohortStore, bags: Bags, rows: Sequence[int] | Any, column: str
) -> np.ndarray[Any, Any] | None:
    """(n) the value of each bag, as text; None where no table has the column."""
    if column in store.patients:
        own = store.patients[column].iloc[bags.table["patient"].to_numpy()[rows]]
        return np.array([_joined(own.iloc[[n]]) for n in range(len(own))], dtype=object)
    if column in store.samples:
        samples = [samples_of(store, bags, int(row)) for row in rows]
        return np.array([_joined(store.samples[column].iloc[own]) for own in samples], dtype=object)
    return None


def _joined(values: pd.Series[Any]) -> str:
    return " | ".join(sorted({str(value) for value in values.dropna()})) or _MISSING
