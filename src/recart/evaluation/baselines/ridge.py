"""The classifier that all baselines share: ridge logistic regression with one tuning budget."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logit

from recart.evaluation.baselines.baseline import IndexArray
from recart.evaluation.predictions import FloatArray

__all__ = ["RIDGE_GRID", "inner_folds", "ridge_logits"]

# inverse ridge strength, strongest first: ties go to the simpler model
RIDGE_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_INNER_FOLDS = 4

Splits = list[tuple[IndexArray, IndexArray]]


def inner_folds(y: FloatArray, patients: IndexArray, seed: int) -> Splits:
    """Inner folds of development bags: stratified by label, whole patients.

    Returns an empty list where a class has fewer than two patients.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    k = min(_INNER_FOLDS, *(len(set(patients[y == label])) for label in (0, 1)))
    if k < 2:
        return []
    folds = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    return [
        (fit, check)
        for fit, check in folds.split(np.zeros((len(y), 1)), y, patients)
        if len(set(y[fit])) == 2
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
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss, make_scorer
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline

    if x_train.shape[1] == 0 or len(set(y_train)) < 2:
        half_a_bag = 0.5 / len(y_train)
        prevalence = np.clip(y_train.mean(), half_a_bag, 1 - half_a_bag)
        return np.full(len(x_test), float(logit(prevalence)))
    classifier = LogisticRegression(C=RIDGE_GRID[0], max_iter=2000)
    model = Pipeline([*steps, ("classifier", classifier)])
    if folds:
        loss = make_scorer(
            log_loss, labels=[0.0, 1.0], greater_is_better=False, response_method="predict_proba"
        )
        model = GridSearchCV(
            model, {"classifier__C": RIDGE_GRID}, scoring=loss, cv=folds, error_score="raise"
        )
    logits: FloatArray = model.fit(x_train, y_train).decision_function(x_test)
    return logits
