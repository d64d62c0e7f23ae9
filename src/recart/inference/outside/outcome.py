"""Which outcome of new patients a model is measured by, and what each of their bags had."""

from __future__ import annotations

from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from recart.data.checks import resolve_labels
from recart.data.checks.labels import plain_value
from recart.data.prepare import Endpoint
from recart.inference.model import Model, NewCohort
from recart.problems import InputError, Problem
from recart.training.cohort_setup import values_of
from recart.training.endpoints import BinaryEndpoint
from recart.training.readouts import build_endpoint

__all__ = ["NEGATIVE", "POSITIVE", "asked_endpoint", "labels_of", "values_by_class"]

POSITIVE, NEGATIVE, NEITHER = "positive", "negative", "neither"


def asked_endpoint(data: DictConfig, model: Model) -> Endpoint:
    """Column and values of the outcome as `data` names them, else as the model's own cohort had.

    Raises
    ------
    InputError
        If the model predicts anything but one of two classes.
    """
    own = build_endpoint(model.config)
    if not isinstance(own, BinaryEndpoint):
        problem = Problem(
            code="E-EVAL-030",
            column="run",
            what=f"the model predicts {own.kind} outcomes; on patients of another place only "
            "models of two classes are evaluated so far",
            mend="predict with embed.py, and compare with the outcomes; or train with "
            "endpoint=binary",
        )
        raise InputError([problem])
    unnamed = data.positive is None and data.negative is None
    column = model.about["endpoint"] if OmegaConf.is_missing(data, "endpoint") else data.endpoint
    return Endpoint(
        column=str(column),
        positive=own.positive if unnamed else data.positive,
        negative=own.negative if unnamed else data.negative,
        exclude=list(data.exclude),
        unit=model.unit,
    )


def labels_of(new: NewCohort, endpoint: Endpoint) -> pd.Series[float]:
    """(n) 1, 0, or NaN where there is no outcome, by bag."""
    found = values_of(new.store, endpoint.unit, str(endpoint.column))
    labels = resolve_labels(found, endpoint.positive, endpoint.negative, endpoint.exclude)
    return labels.reindex(new.bags.table.index).astype(float)


def values_by_class(
    new: NewCohort, endpoint: Endpoint, labels: pd.Series[float]
) -> dict[str, dict[str, int]]:
    """How often each value of the outcome stands in the bags, by what it was read as."""
    found: Any = values_of(new.store, endpoint.unit, str(endpoint.column))
    text = found.reindex(labels.index).map(plain_value, na_action="ignore")
    words = labels.map({1.0: POSITIVE, 0.0: NEGATIVE}).fillna(NEITHER)
    counted: dict[str, dict[str, int]] = {}
    for name in (POSITIVE, NEGATIVE, NEITHER):
        counts = text[words == name].fillna("no value").astype(str).value_counts()
        counted[name] = {str(value): int(n) for value, n in counts.items()}
    return counted
