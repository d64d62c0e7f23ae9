"""The binary face of a cohort: its bags labelled with yes and no where the endpoint is more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from recart.data.outcome import LABEL
from recart.training.cohort_setup import PreparedCohort
from recart.training.endpoints import (
    BinaryEndpoint,
    Endpoint,
    SeveralEndpoints,
    SurvivalEndpoint,
    endpoint_of,
)
from recart.training.heads import Array

__all__ = ["CENSORED", "face_of", "on_the_face", "target_columns"]

# how the reason begins why a bag that is in the C-index is in no yes or no
CENSORED = "censored before it is known"
_DAYS = 30.4375  # of a month


def face_of(cohort: PreparedCohort) -> PreparedCohort:
    """The cohort for everything that asks yes or no: baselines' tables, audit, claim.

    A bag whose answer is not known, such as one censored before the landmark, has no label there;
    the flow counts it. Columns of the outcome itself beside its first are no properties of patients
    any more, and a time is in days.
    """
    bags = cohort.bags
    if bags.outcome is None:
        return cohort
    endpoint = endpoint_of(bags)
    rows = np.flatnonzero(bags.table[LABEL].to_numpy() >= 0)
    label = np.full(len(bags), -1, dtype=np.int64)
    label[rows] = endpoint.binary(endpoint.targets_of(bags, rows))
    flow = dict(bags.flow)
    if unknown := int((label[rows] < 0).sum()):
        classes = " nor ".join(endpoint.classes)
        flow[f"{CENSORED}, neither {classes}: in the C-index alone"] = unknown
    store = replace(
        cohort.store,
        patients=_faced(cohort.store.patients, endpoint),
        samples=_faced(cohort.store.samples, endpoint),
    )
    faced = replace(bags, table=bags.table.assign(label=label), flow=flow)
    return replace(cohort, store=store, bags=faced)


def _faced(table: pd.DataFrame, endpoint: Endpoint) -> pd.DataFrame:
    """A table with the endpoint's first column only, a time in days as every day of a cohort."""
    table = table.drop(columns=list(endpoint.columns[1:]), errors="ignore")
    lead = endpoint.leading if isinstance(endpoint, SeveralEndpoints) else endpoint
    if isinstance(lead, SurvivalEndpoint) and lead.time in table:
        months = pd.to_numeric(table[lead.time], errors="coerce") / lead.per_month
        table = table.assign(**{lead.time: months * _DAYS})
    return table


def target_columns(endpoint: Endpoint, targets: Array) -> dict[str, Array]:
    """Targets of bags as columns of the table of predictions; none where they are yes or no."""
    if isinstance(endpoint, SeveralEndpoints):
        found: dict[str, Array] = {}
        for number, (name, own) in enumerate(endpoint.targets_by_part(targets).items()):
            suffix = f":{name}" if number else ""
            columns = _columns(own)
            found |= {f"{column}{suffix}": value for column, value in columns.items()}
        return found
    return {} if isinstance(endpoint, BinaryEndpoint) else _columns(targets)


def _columns(targets: Array) -> dict[str, Array]:
    if targets.ndim == 1:
        return {"target:level": targets.astype(float)}
    return {"target:time": targets[:, 0], "target:event": targets[:, 1]}


def on_the_face(predictions: pd.DataFrame) -> pd.DataFrame:
    """Rows of held-out predictions whose answer is known."""
    return predictions[predictions["y"] >= 0].reset_index(drop=True)
