"""Calibration of held-out probabilities by two numbers: calibration in the large, and slope."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import t as student

from recart.evaluation.intervals import LEVEL, Interval
from recart.evaluation.log_odds import finite_log_odds
from recart.evaluation.predictions import BagScores, FloatArray

__all__ = ["MIN_PER_CLASS_FOR_CURVE", "Calibration", "calibration"]

# below this many events or non-events neither a flexible curve nor a binned error is given
MIN_PER_CLASS_FOR_CURVE = 100
_MAX_STEPS = 50
# log-odds that differ by less are the same
_SAME = 1e-6
_METHOD = "logistic recalibration, standard error clustered by patient"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Logistic recalibration of the held-out log-odds.

    Attributes
    ----------
    in_the_large, in_the_large_interval
        Intercept with the log-odds as offset: 0 is perfect, above 0 the model says too little.
    slope, slope_interval
        Coefficient of the log-odds: 1 is perfect, below 1 the model is too sure of itself. None
        where refused.
    refusal
        Why no slope is given; empty where it is.
    n_events, n_non_events
        Positive and negative bags.
    curve_refusal
        Why neither a flexible calibration curve nor an expected calibration error may be shown;
        empty where they may.

    Notes
    -----
    The intervals hold the fold-models fixed. A model that is perfectly calibrated has slopes of
    0.15 to 4.1 at 20 patients and 0.54 to 1.8 at 80 (95 % range, simulated), and an expected
    calibration error in 5 bins of 0.18 and 0.09: below 100 of each class such an error says nothing
    (Van Calster et al., BMC Medicine 2019, 17:230).
    """

    in_the_large: float
    in_the_large_interval: Interval
    slope: float | None
    slope_interval: Interval | None
    refusal: str
    n_events: int
    n_non_events: int
    curve_refusal: str


def calibration(scores: BagScores, level: float = LEVEL) -> Calibration:
    """Recalibrate the held-out probabilities of one model, bags clustered by patient."""
    y = scores.y
    log_odds = finite_log_odds(scores.probability)
    clusters = np.unique(scores.patients, return_inverse=True)[1]
    ones = np.ones((len(y), 1))
    alone, error = _fit(ones, y, log_odds, clusters)
    events = int(y.sum())
    refusal = _slope_refusal(y, log_odds)
    slope, slope_interval = None, None
    if not refusal:
        both, errors = _fit(np.hstack([ones, log_odds[:, None]]), y, np.zeros(len(y)), clusters)
        slope = float(both[1])
        slope_interval = _interval(both[1], errors[1], clusters, 2, level)
    return Calibration(
        in_the_large=float(alone[0]),
        in_the_large_interval=_interval(alone[0], error[0], clusters, 1, level),
        slope=slope,
        slope_interval=slope_interval,
        refusal=refusal,
        n_events=events,
        n_non_events=len(y) - events,
        curve_refusal=_curve_refusal(events, len(y) - events),
    )


def _slope_refusal(y: FloatArray, log_odds: FloatArray) -> str:
    if np.ptp(log_odds) < _SAME:
        return "The model says the same of every bag: its slope is not defined."
    low, high = log_odds[y < 0.5], log_odds[y > 0.5]
    # where the classes meet in one value the likelihood still grows with the slope
    if low.max() - high.min() < _SAME or high.max() - low.min() < _SAME:
        return "The probabilities separate the classes: the slope has no finite estimate."
    return ""


def _curve_refusal(events: int, non_events: int) -> str:
    if min(events, non_events) >= MIN_PER_CLASS_FOR_CURVE:
        return ""
    return (
        f"There are {events} events and {non_events} non-events; below "
        f"{MIN_PER_CLASS_FOR_CURVE} of each, a calibration curve and an expected calibration error "
        "show chance: a perfect model looks as bad."
    )


def _fit(
    x: FloatArray, y: FloatArray, offset: FloatArray, clusters: np.ndarray
) -> tuple[FloatArray, FloatArray]:
    """Maximum-likelihood logistic regression; coefficients and clustered standard errors."""
    beta = np.zeros(x.shape[1])
    value = _loss(x @ beta + offset, y)
    for _ in range(_MAX_STEPS):
        p = expit(x @ beta + offset)
        information = x.T @ ((p * (1 - p))[:, None] * x) + 1e-12 * np.eye(len(beta))
        step = np.linalg.solve(information, x.T @ (y - p))
        scale = 1.0
        while _loss(x @ (beta + scale * step) + offset, y) > value + 1e-12 and scale > 1e-9:
            scale /= 2
        beta = beta + scale * step
        value = _loss(x @ beta + offset, y)
        if np.abs(step).max() < 1e-9:
            break
    p = expit(x @ beta + offset)
    bread = np.linalg.inv(x.T @ ((p * (1 - p))[:, None] * x))
    groups = clusters.max() + 1
    sums = np.stack([np.bincount(clusters, (y - p) * column, groups) for column in x.T])
    meat = sums @ sums.T * groups / max(groups - x.shape[1], 1)
    return beta, np.sqrt(np.diag(bread @ meat @ bread))


def _loss(log_odds: FloatArray, y: FloatArray) -> float:
    return float(np.logaddexp(0, log_odds).sum() - y @ log_odds)


def _interval(
    value: float, error: float, clusters: np.ndarray, parameters: int, level: float
) -> Interval:
    freedom = max(int(clusters.max()) + 1 - parameters, 1)
    reach = float(student.ppf(0.5 + level / 2, freedom) * error)
    return Interval(low=value - reach, high=value + reach, level=level, method=_METHOD)
