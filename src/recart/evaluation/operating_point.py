"""Sensitivity at a fixed specificity, read off the ROC curve of the held-out scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recart.evaluation.bootstrap import PatientBootstrap
from recart.evaluation.intervals import LEVEL, Interval
from recart.evaluation.predictions import BagScores, FloatArray

__all__ = ["SPECIFICITY", "OperatingPoint", "sensitivity_at_specificity"]

# specificity at which sensitivity is read
SPECIFICITY = 0.9


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Sensitivity where the specificity is at least `specificity`.

    No threshold is carried over to new patients: the point is read off the held-out scores of all
    bags, so it says what the ranking allows, not what a deployed threshold would reach.
    """

    specificity: float
    sensitivity: float
    interval: Interval


def sensitivity_at_specificity(
    scores: BagScores,
    resampling: PatientBootstrap,
    specificity: float = SPECIFICITY,
    level: float = LEVEL,
) -> OperatingPoint:
    """Sensitivity at `specificity`, with its patient-bootstrap percentile interval."""
    once = np.ones((1, len(scores.y)))
    draws = _sensitivity(resampling.weights, scores, specificity)
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2])
    return OperatingPoint(
        specificity=specificity,
        sensitivity=float(_sensitivity(once, scores, specificity)[0]),
        interval=Interval(
            low=float(low), high=float(high), level=level, method="patient bootstrap, percentile"
        ),
    )


def _sensitivity(weights: FloatArray, scores: BagScores, specificity: float) -> FloatArray:
    """(resample) largest sensitivity of any threshold with the wanted specificity."""
    order = np.argsort(-scores.score, kind="stable")
    # only the last bag of a run of ties is a threshold
    ends = np.append(np.nonzero(np.diff(scores.score[order]))[0], len(order) - 1)
    w, y = weights[:, order], scores.y[order]
    hits = np.cumsum(w * y, axis=1)[:, ends]
    false = np.cumsum(w * (1 - y), axis=1)[:, ends]
    allowed = false <= (1 - specificity + 1e-9) * false[:, -1:]
    value: FloatArray = np.where(allowed, hits, 0).max(axis=1) / hits[:, -1]
    return value
