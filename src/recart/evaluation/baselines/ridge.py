"""The classifier that all baselines share: ridge logistic regression with one tuning budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import logit

from recart.evaluation.baselines.baseline import IndexArray
from recart.evaluation.predictions import FloatArray
from recart.models.ridge_logistic import fit_ridge_logistic
from recart.training.ridge_selection import inner_folds as deal

__all__ = ["INNER_FOLDS", "RIDGE_GRID", "inner_folds", "ridge_logits"]

# Inverse ridge strength, strongest first: ties go to the simpler model. As many strengths and inner
# folds as the default head has: the budget is the same.
RIDGE_GRID = tuple(float(value) for value in np.logspace(-5, 1, 9))
INNER_FOLDS = 5

Splits = list[tuple[IndexArray, IndexArray]]


def inner_folds(y: FloatArray, patients: IndexArray, seed: int) -> Splits:
    """Inner folds of development bags: stratified by label, whole patients.

    Returns an empty list where a class has fewer than two patients.
    """
    if min(len(set(patients[y == label])) for label in (0, 1)) < 2:
        return []
    everything = np.arange(len(y))
    return [
        (np.setdiff1d(everything, check), check) for check in deal(y, patients, INNER_FOLDS, seed)
    ]


def ridge_logits(
    steps: list[tuple[str, Any]],
    x_train: FloatArray,
    y_train: FloatArray,
    folds: Splits,
    x_test: FloatArray,
) -> FloatArray:
    """Fit preprocessing and ridge logistic regression, strength by inner log loss.

    Parameters
    ----------
    steps
        Unfitted scikit-learn steps before the classifier, fitted anew in every inner fold.
    x_train, y_train, x_test
        (train, f), (train) and (test, f) features and labels.
    folds
        Inner folds of the training bags; without any the strongest ridge is taken.

    Returns
    -------
    (test) logits. Without features, or with one class, the log-odds of the training prevalence.
    """
    if x_train.shape[1] == 0 or len(set(y_train)) < 2:
        half_a_bag = 0.5 / len(y_train)
        prevalence = np.clip(y_train.mean(), half_a_bag, 1 - half_a_bag)
        return np.full(len(x_test), float(logit(prevalence)))
    chosen = 0
    if folds:
        losses = np.sum([_losses(steps, x_train, y_train, *fold) for fold in folds], axis=0)
        chosen = int(np.argmin(losses))
    logits = _logits(steps, x_train, y_train, x_test, RIDGE_GRID[chosen : chosen + 1])
    return logits[0]


def _losses(
    steps: list[tuple[str, Any]],
    x: FloatArray,
    y: FloatArray,
    fit: IndexArray,
    check: IndexArray,
) -> FloatArray:
    """(strength) summed log loss on the bags `check` of models fitted on the bags `fit`."""
    logits = _logits(steps, x[fit], y[fit], x[check], RIDGE_GRID)
    losses: FloatArray = (np.logaddexp(0, logits) - y[check] * logits).sum(axis=1)
    return losses


def _logits(
    steps: list[tuple[str, Any]],
    x_fit: FloatArray,
    y_fit: FloatArray,
    x_check: FloatArray,
    grid: tuple[float, ...],
) -> FloatArray:
    """(strength, check) logits."""
    from sklearn.base import clone

    fitted, seen = x_fit, x_check
    for _, step in steps:
        own = clone(step)
        fitted = own.fit_transform(fitted)
        seen = own.transform(seen)
    x = torch.from_numpy(np.asarray(fitted, dtype=np.float64))
    coefficients, intercepts = fit_ridge_logistic(
        x[None],
        torch.from_numpy(y_fit)[None],
        torch.ones(1, len(x), dtype=torch.float64),
        1 / torch.tensor([grid], dtype=torch.float64),
    )
    held_out = torch.from_numpy(np.asarray(seen, dtype=np.float64))
    # row by row: a bag's logit is the same numbers in any company
    rows = [coefficients[0] @ row for row in held_out]
    logits: FloatArray = (torch.stack(rows, dim=1) + intercepts[0][:, None]).numpy()
    return logits
