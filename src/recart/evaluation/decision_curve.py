"""Decision curve: what acting on the held-out probabilities is worth, beside all and none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recart.evaluation.bootstrap import PatientBootstrap
from recart.evaluation.intervals import LEVEL
from recart.evaluation.predictions import BagScores, FloatArray

__all__ = ["EXPLORATORY_BELOW", "THRESHOLDS", "DecisionCurve", "decision_curve"]

# fixed beforehand, so that no threshold is chosen on the held-out patients
THRESHOLDS: FloatArray = np.linspace(0.05, 0.95, 91)
# below this many patients the curve is exploratory
EXPLORATORY_BELOW = 100


@dataclass(frozen=True, kw_only=True)
class DecisionCurve:
    """Net benefit by threshold probability; treating none is worth 0 at every threshold.

    Attributes
    ----------
    threshold
        (t) threshold probabilities, fixed beforehand.
    net_benefit
        (t) true positives minus false positives weighted by the odds of the threshold, per bag.
    low, high
        (t) pointwise band over patient resamples, at `level`.
    treat_all
        (t) net benefit of calling every bag positive.
    level
        Nominal coverage of the band.
    exploratory
        True below `EXPLORATORY_BELOW` patients: no decision should lean on the curve.

    Notes
    -----
    Vickers & Elkin, "Decision curve analysis", Medical Decision Making 2006, 26(6).
    """

    threshold: FloatArray
    net_benefit: FloatArray
    low: FloatArray
    high: FloatArray
    treat_all: FloatArray
    level: float
    exploratory: bool


def decision_curve(
    scores: BagScores, resampling: PatientBootstrap, level: float = LEVEL
) -> DecisionCurve:
    """Net benefit of the held-out probabilities of one model at `THRESHOLDS`."""
    odds = THRESHOLDS / (1 - THRESHOLDS)
    called_tn = (scores.probability[None, :] >= THRESHOLDS[:, None]).astype(float)
    worth_tn = called_tn * (scores.y[None, :] - odds[:, None] * (1 - scores.y)[None, :])
    weights = resampling.weights
    draws = weights @ worth_tn.T / weights.sum(axis=1, keepdims=True)
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    prevalence = float(scores.y.mean())
    return DecisionCurve(
        threshold=THRESHOLDS,
        net_benefit=worth_tn.mean(axis=1),
        low=low,
        high=high,
        treat_all=prevalence - (1 - prevalence) * odds,
        level=level,
        exploratory=len(set(scores.patients)) < EXPLORATORY_BELOW,
    )
