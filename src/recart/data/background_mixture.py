"""Two-component Gaussian mixtures in one dimension, one a cell, fitted all at once."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["lower_components"]

Array = np.ndarray[Any, np.dtype[np.float64]]

_MAX_STEPS = 200
_TOLERANCE = 1e-2
_TINY = 10 * np.finfo(np.float64).eps


def lower_components(
    values_ca: Array, measured_ca: np.ndarray[Any, np.dtype[np.bool_]], least_variance: float
) -> tuple[Array, Array]:
    """Mean and scale of the lower of two Gaussian components over each cell's proteins.

    Expectation-maximisation with the steps and the stopping rule of scikit-learn's
    `GaussianMixture(2, reg_covar=least_variance, max_iter=200, tol=1e-2)`, started from the best
    split of the sorted values in two, which is what its k-means looks for. One cell after another
    in scikit-learn takes milliseconds each, nearly all of it in checks of its input.

    Parameters
    ----------
    values_ca
        (c, a), such as log counts.
    measured_ca
        False where a value takes no part; every cell needs two that do.
    least_variance
        Added to the variances, in squared units of the values.

    Returns
    -------
    (c) means and (c) scales.
    """
    values = np.where(measured_ca, values_ca, 0.0)
    mean = np.empty(len(values))
    scale = np.empty(len(values))
    lowest = np.where(measured_ca, values, np.inf).min(axis=1)
    constant = lowest == np.where(measured_ca, values, -np.inf).max(axis=1)
    mean[constant], scale[constant] = lowest[constant], np.sqrt(least_variance)  # nothing to part
    running = np.flatnonzero(~constant)
    values, measured = values[running, None, :], measured_ca[running].astype(np.float64)
    split = _best_split(values[:, 0], measured_ca[running])
    share_c2a = np.stack([split, measured_ca[running] & ~split], axis=1).astype(np.float64)
    parameters = _maximise(values, share_c2a, least_variance)
    bound = np.full(len(running), -np.inf)
    for _ in range(_MAX_STEPS):
        if not len(running):
            break
        now, share_c2a = _expect(values, measured, parameters)
        parameters = _maximise(values, share_c2a, least_variance)
        done = np.abs(now - bound) < _TOLERANCE
        _keep_lower(mean, scale, running[done], [part[done] for part in parameters])
        left = ~done
        running, bound = running[left], now[left]
        values, measured = values[left], measured[left]
        parameters = [part[left] for part in parameters]
    _keep_lower(mean, scale, running, parameters)
    return mean, scale


def _best_split(values_ca: Array, measured_ca: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """True for the lower of the two groups with the least sum of squares."""
    order = np.argsort(np.where(measured_ca, values_ca, np.inf), axis=1, kind="stable")
    total = measured_ca.sum(axis=1, keepdims=True)
    ordered = np.take_along_axis(values_ca, order, axis=1)
    low_count = np.arange(1, values_ca.shape[1] + 1)[None]
    low_sum = ordered.cumsum(axis=1)  # what is not measured counts as 0 and stands at the end
    high_count = total - low_count
    # least squares within is most squares between
    between = low_sum**2 / low_count
    between += (low_sum[:, -1:] - low_sum) ** 2 / np.maximum(high_count, 1)
    between[high_count <= 0] = -np.inf
    last = between.argmax(axis=1)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(order.shape[1])[None], axis=1)
    lower: np.ndarray[Any, Any] = rank <= last[:, None]
    return lower


def _maximise(values: Array, share_c2a: Array, least_variance: float) -> list[Array]:
    """Weights, means and variances (c, 2) of the components."""
    mass = share_c2a.sum(axis=2) + _TINY
    mean = (share_c2a * values).sum(axis=2) / mass
    square = (share_c2a * (values - mean[:, :, None]) ** 2).sum(axis=2)
    return [mass / mass.sum(axis=1, keepdims=True), mean, square / mass + least_variance]


def _expect(values: Array, measured: Array, parameters: list[Array]) -> tuple[Array, Array]:
    """Mean log-likelihood of each cell's values (c), and their shares (c, 2, a)."""
    weight, mean, variance = (part[:, :, None] for part in parameters)
    log = np.log(weight) - 0.5 * (np.log(2 * np.pi * variance) + (values - mean) ** 2 / variance)
    norm = np.logaddexp(log[:, 0], log[:, 1])
    share = np.exp(log - norm[:, None]) * measured[:, None]
    return (norm * measured).sum(axis=1) / measured.sum(axis=1), share


def _keep_lower(
    mean: Array, scale: Array, rows: np.ndarray[Any, Any], parameters: list[Array]
) -> None:
    _, means, variances = parameters
    low = means.argmin(axis=1)[:, None]
    mean[rows] = np.take_along_axis(means, low, axis=1)[:, 0]
    scale[rows] = np.sqrt(np.take_along_axis(variances, low, axis=1)[:, 0])
