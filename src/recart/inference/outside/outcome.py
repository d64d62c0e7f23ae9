"""Which outcome of new patients a model is measured by, and what each of their bags had."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from recart.data.checks import resolve_labels
from recart.data.checks.labels import plain_value
from recart.data.outcome import LABEL
from recart.data.prepare import Endpoint as AsWritten
from recart.evaluation.outcomes import face_of, target_columns
from recart.inference.model import Model, NewCohort
from recart.training.cohort_setup import (
    PreparedCohort,
    admission,
    outcome_bags,
    values_of,
    whole_reading,
)
from recart.training.endpoints import (
    BinaryEndpoint,
    Endpoint,
    OrdinalEndpoint,
    SeveralEndpoints,
    SurvivalEndpoint,
    endpoint_of,
)
from recart.training.readouts import build_endpoint

__all__ = ["NEGATIVE", "POSITIVE", "Had", "asked_endpoint", "had_of", "values_by_class"]

POSITIVE, NEGATIVE, NEITHER = "positive", "negative", "neither"


@dataclass(frozen=True, kw_only=True)
class Had:
    """What each bag of new patients had.

    Attributes
    ----------
    cohort, face
        With the bags labelled by the outcome, and by its binary face: -1 where it is not known.
    """

    cohort: PreparedCohort
    face: PreparedCohort

    @property
    def endpoint(self) -> Endpoint:
        """The model's endpoint, by the columns of these data."""
        return endpoint_of(self.cohort.bags)

    @property
    def known(self) -> pd.Series[bool]:
        """(n) whether the bag has an outcome, be yes or no known or not."""
        return self.cohort.bags.table[LABEL] >= 0

    @property
    def labels(self) -> pd.Series[float]:
        """(n) 1, 0, or NaN where yes or no is not known."""
        labels = self.face.bags.table[LABEL].astype(float)
        return labels.where(labels >= 0)

    @property
    def targets(self) -> pd.DataFrame:
        """(n) `target:` columns as held-out predictions have them; none where it is yes or no."""
        table = self.cohort.bags.table
        rows = np.flatnonzero(self.known)
        found = target_columns(self.endpoint, self.endpoint.targets(table.iloc[rows]))
        return pd.DataFrame(found, index=table.index[rows]).reindex(table.index)


def asked_endpoint(data: DictConfig, model: Model) -> AsWritten:
    """Column and values of the outcome as `data` names them, else as the model's own cohort had.

    Levels, months and the cut are the model's; `data.positive` and `data.negative` are of classes.
    """
    own = build_endpoint(model.config)
    unnamed = data.positive is None and data.negative is None
    column = model.about["endpoint"] if OmegaConf.is_missing(data, "endpoint") else data.endpoint
    written = AsWritten(
        column=str(column),
        positive=data.positive,
        negative=data.negative,
        exclude=list(data.exclude),
        unit=model.unit,
    )
    if not isinstance(own, BinaryEndpoint):
        return replace(written, outcome=_renamed(own, str(column), list(data.exclude)))
    if unnamed:
        return replace(written, positive=own.positive, negative=own.negative)
    return written


def had_of(new: NewCohort, endpoint: AsWritten, data: DictConfig) -> Had:
    """What the new patients had; `data` is that of the model's training."""
    bags, outcome = new.bags, endpoint.outcome
    if outcome is None:
        found = values_of(new.store, endpoint.unit, str(endpoint.column))
        labels = resolve_labels(found, endpoint.positive, endpoint.negative, endpoint.exclude)
        label = labels.reindex(bags.table.index).fillna(-1).astype(int)
        bags = replace(bags, table=bags.table.assign(label=label))
    else:
        bags = outcome_bags(new.store, outcome, endpoint.unit, admission(data), whole_reading(data))
    cohort = PreparedCohort(store=new.store, key="", bags=bags, extras=pd.DataFrame())
    return Had(cohort=cohort, face=face_of(cohort))


def values_by_class(new: NewCohort, endpoint: AsWritten, had: Had) -> dict[str, dict[str, int]]:
    """How often each value of the outcome stands in the bags, by what it was read as.

    Of times, which are as many as patients, the answer at the landmark stands for the value.
    """
    labels = had.labels
    words = labels.map({1.0: POSITIVE, 0.0: NEGATIVE}).fillna(NEITHER)
    if had.endpoint.kind == "survival":
        answers = dict(zip((POSITIVE, NEGATIVE), had.endpoint.classes, strict=True))
        unknown = pd.Series("no time or event, or left out", index=labels.index)
        unknown[had.known] = "censored before the landmark"
        text: Any = words.map(answers).fillna(unknown)
    else:
        found: Any = values_of(new.store, endpoint.unit, str(endpoint.column))
        text = found.reindex(labels.index).map(plain_value, na_action="ignore")
    counted: dict[str, dict[str, int]] = {}
    for name in (POSITIVE, NEGATIVE, NEITHER):
        counts = text[words == name].fillna("no value").astype(str).value_counts()
        counted[name] = {str(value): int(n) for value, n in counts.items()}
    return counted


def _renamed(own: Endpoint, column: str, exclude: list[Any]) -> Endpoint:
    """The same endpoint read from `column`; values to be left out are these, else its own.

    Of several endpoints the leading one: the others keep their columns.
    """
    if isinstance(own, SeveralEndpoints):
        first, *others = own.parts.items()
        lead = _renamed(first[1], column, exclude)
        return replace(own, parts={first[0]: lead, **dict(others)})
    left_out = exclude or list(getattr(own, "exclude", ()))
    if isinstance(own, SurvivalEndpoint):
        return replace(own, time=column, exclude=left_out)
    if isinstance(own, OrdinalEndpoint | BinaryEndpoint):
        return replace(own, column=column, exclude=left_out)
    return own  # of a kind of the user's own: read as in training
