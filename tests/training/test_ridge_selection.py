"""Strengths are chosen on inner folds: as in a plain loop with scikit-learn, stacked or not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from recart.training.feature_scaling import FeatureScaling
from recart.training.ridge_selection import fit_ridges, inner_folds

STRENGTHS = [0.03, 0.3, 3.0]


def _member(n: int, f: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    x = rng.normal(size=(n, f)) + 0.7 * labels[:, None] * (np.arange(f) < 2)
    folds = inner_folds(labels, np.arange(n), 4, seed)
    return torch.from_numpy(x), torch.from_numpy(labels).double(), folds


def test_equals_a_loop_over_folds_and_strengths_with_scikit_learn() -> None:
    x, y, folds = _member(24, 6, 0)
    groups = torch.tensor([0, 0, 1, 1, 1, 2])
    (ridge,) = fit_ridges([x], [groups], [y], [folds], torch.tensor(STRENGTHS).double())
    losses = []
    for strength in STRENGTHS:
        probability = np.zeros(24)
        for test in folds:
            train = np.setdiff1d(np.arange(24), test)
            scaled = FeatureScaling.fit(x[train], groups, torch.ones(len(train))).apply(x)
            model = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10_000)
            model.fit(scaled[train], y[train])
            probability[test] = model.predict_proba(scaled[test])[:, 1]
        losses.append(log_loss(y, probability))
    np.testing.assert_allclose(ridge.inner_log_losses, losses, rtol=1e-4)
    assert ridge.strength == pytest.approx(STRENGTHS[int(np.argmin(losses))])
    every = torch.tensor(ridge.inner_logits)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(every.double(), y)
    assert float(loss) == pytest.approx(min(losses), rel=1e-4)


def test_members_of_any_size_are_fitted_as_if_alone() -> None:
    sizes = [(24, 6), (17, 6), (30, 6), (20, 9), *[(18, 6)] * 20]
    members = [_member(n, f, seed) for seed, (n, f) in enumerate(sizes)]
    groups = [torch.arange(f) % 3 for _, f in sizes]
    strengths = torch.tensor(STRENGTHS).double()
    features, labels, folds = (list(part) for part in zip(*members, strict=True))
    features[1][:5, 2] = torch.nan
    together = fit_ridges(features, groups, labels, folds, strengths)
    assert len({ridge.strength for ridge in together}) > 1
    for ridge, x, group, y, own in zip(together, features, groups, labels, folds, strict=True):
        (alone,) = fit_ridges([x], [group], [y], [own], strengths)
        torch.testing.assert_close(ridge.coefficients, alone.coefficients, rtol=1e-8, atol=1e-9)
        assert ridge.intercept == pytest.approx(alone.intercept, abs=1e-8)
        assert ridge.strength == alone.strength
        np.testing.assert_allclose(ridge.inner_logits, alone.inner_logits, rtol=1e-7, atol=1e-9)
        for name in ("mean", "scale", "low", "high"):
            torch.testing.assert_close(getattr(ridge.scaling, name), getattr(alone.scaling, name))
        # a checkpoint must not carry the whole stack's storage
        assert ridge.coefficients.untyped_storage().nbytes() == 8 * len(group)
        assert ridge.scaling.mean.untyped_storage().nbytes() == 8 * len(group)


def test_folds_of_one_class_are_refused() -> None:
    with pytest.raises(ValueError, match="two patients of each class"):
        inner_folds(np.array([0, 0, 0, 1]), np.arange(4), 2, 0)
