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
    chosen = int(np.argmin(_losses(steps, x_train, y_train, folds))) if folds else 0
    x, held_out = _prepared(steps, x_train, x_test)
    coefficients, intercepts = fit_ridge_logistic(
        x[None],
        torch.from_numpy(y_train)[None],
        torch.ones(1, len(x), dtype=torch.float64),
        1 / torch.tensor([RIDGE_GRID[chosen : chosen + 1]], dtype=torch.float64),
    )
    # row by row: a bag's logit is the same numbers in any company
    logits = torch.stack([row @ coefficients[0, 0] for row in held_out]) + intercepts[0, 0]
    found: FloatArray = logits.numpy()
    return found


def _losses(
    steps: list[tuple[str, Any]], x: FloatArray, y: FloatArray, folds: Splits
) -> FloatArray:
    """(strength) log loss over the held-out bags of all inner folds, solved in one stack."""
    x_qnf = torch.stack([_prepared(steps, x[fit], x)[1] for fit, _ in folds])
    weight = torch.zeros(len(folds), len(y), dtype=torch.float64)
    for own, (fit, _) in zip(weight, folds, strict=True):
        own[torch.from_numpy(fit)] = 1.0
    y_qn = torch.from_numpy(y).expand(len(folds), -1)
    grid = 1 / torch.tensor(RIDGE_GRID, dtype=torch.float64)
    coefficients, intercepts = fit_ridge_logistic(x_qnf, y_qn, weight, grid.expand(len(folds), -1))
    logits = (coefficients @ x_qnf.mT + intercepts.unsqueeze(-1)).numpy()
    losses: FloatArray = np.sum(
        [
            (np.logaddexp(0, own) - y * own)[:, check].sum(axis=1)
            for own, (_, check) in zip(logits, folds, strict=True)
        ],
        axis=0,
    )
    return losses


def _prepared(
    steps: list[tuple[str, Any]], fit: FloatArray, other: FloatArray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of both after steps that are fitted on the first."""
    from sklearn.base import clone

    for _, step in steps:
        own = clone(step)
        fit = own.fit_transform(fit)
        other = own.transform(other)
    first, second = (torch.from_numpy(np.array(part, dtype=np.float64)) for part in (fit, other))
    return first, second
