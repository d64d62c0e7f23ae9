"""The regression that all baselines share: the endpoint's, with a ridge chosen on inner folds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import logit

from recart.evaluation.baselines.baseline import FoldLogits, IndexArray
from recart.evaluation.predictions import FloatArray
from recart.training.endpoints import BinaryEndpoint, Endpoint
from recart.training.inner_folds import inner_folds as deal

__all__ = ["INNER_FOLDS", "RIDGE_GRID", "inner_folds", "ridge_logits"]

# Inverse ridge strength, strongest first: ties go to the simpler model. To its features a baseline
# fits as many models, in as many inner folds, as the default head to each group of its own
# (strengths times screens). The head has several groups, their weights and a slope: it has more to
# choose from than a baseline.
RIDGE_GRID = tuple(float(value) for value in np.logspace(-5, 1, 9))
INNER_FOLDS = 5

_BINARY = BinaryEndpoint()

Splits = list[tuple[IndexArray, IndexArray]]


def inner_folds(
    y: FloatArray, patients: IndexArray, seed: int, endpoint: Endpoint = _BINARY
) -> Splits:
    """Inner folds of development bags: stratified as the endpoint says, whole patients.

    Returns an empty list where a class has fewer than two patients.
    """
    label_n, grade_n = endpoint.strata(y)
    if min(len(set(patients[label_n == label])) for label in (0, 1)) < 2:
        return []
    everything = np.arange(len(y))
    dealt = deal(label_n, patients, INNER_FOLDS, seed, grade_n)
    return [(np.setdiff1d(everything, check), check) for check in dealt]


def ridge_logits(
    steps: list[tuple[str, Any]],
    x_train: FloatArray,
    y_train: FloatArray,
    folds: Splits,
    x_test: FloatArray,
    endpoint: Endpoint = _BINARY,
) -> FoldLogits:
    """Fit preprocessing and the endpoint's ridge regression, strength by inner loss.

    Parameters
    ----------
    steps
        Unfitted scikit-learn steps before the classifier, fitted anew in every inner fold.
    x_train, y_train, x_test
        (train, f), (train) and (test, f) features and labels.
    folds
        Inner folds of the training bags; without any the strongest ridge is taken.
    endpoint
        What `y_train` are targets of.

    Returns
    -------
    Logits of both. Without features, or with one class, the log-odds of the training prevalence.
    """
    if x_train.shape[1] == 0 or len(set(endpoint.strata(y_train)[0])) < 2:
        face = endpoint.binary(y_train)
        known = face[face >= 0] if (face >= 0).any() else np.array([0.5])
        half_a_bag = 0.5 / len(known)
        prevalence = np.clip(known.mean(), half_a_bag, 1 - half_a_bag)
        same = float(logit(prevalence))
        return FoldLogits(held_out=np.full(len(x_test), same), inner=np.full(len(x_train), same))
    chosen, inner = 0, np.full(len(x_train), np.nan)
    if folds:
        chosen, inner = _chosen(steps, x_train, y_train, folds, endpoint)
    x, held_out = _prepared(steps, x_train, x_test)
    coefficients, offsets = endpoint.solve(
        x[None],
        torch.from_numpy(y_train)[None],
        torch.ones(1, len(x), dtype=torch.float64),
        1 / torch.tensor([RIDGE_GRID[chosen : chosen + 1]], dtype=torch.float64),
    )
    # row by row: a bag's logit is the same numbers in any company
    linear = torch.stack([row @ coefficients[0, 0] for row in held_out])
    return FoldLogits(held_out=endpoint.log_odds(linear, offsets[0, 0]).numpy(), inner=inner)


def _chosen(
    steps: list[tuple[str, Any]],
    x: FloatArray,
    y: FloatArray,
    folds: Splits,
    endpoint: Endpoint,
) -> tuple[int, FloatArray]:
    """The strength of the least inner loss, and under it (n) logits from outside each inner fold.

    All strengths and inner folds are solved in one stack.
    """
    x_qnf = torch.stack([_prepared(steps, x[fit], x)[1] for fit, _ in folds])
    weight = torch.zeros(len(folds), len(y), dtype=torch.float64)
    for own, (fit, _) in zip(weight, folds, strict=True):
        own[torch.from_numpy(fit)] = 1.0
    y_qn = torch.from_numpy(y).expand(len(folds), *y.shape)
    grid = 1 / torch.tensor(RIDGE_GRID, dtype=torch.float64)
    coefficients, offsets = endpoint.solve(x_qnf, y_qn, weight, grid.expand(len(folds), -1))
    linear_qsn = coefficients @ x_qnf.mT
    loss_qsn = endpoint.losses(linear_qsn, offsets, y_qn, weight).numpy()
    losses = np.sum(
        [own[:, check].sum(axis=1) for own, (_, check) in zip(loss_qsn, folds, strict=True)],
        axis=0,
    )
    chosen = int(np.argmin(losses))
    inner = np.full(len(y), np.nan)
    for linear, offset, (_, check) in zip(linear_qsn, offsets, folds, strict=True):
        inner[check] = endpoint.log_odds(linear[chosen, check], offset[chosen]).numpy()
    return chosen, inner


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
