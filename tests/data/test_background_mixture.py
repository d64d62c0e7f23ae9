"""Mixtures of all cells at once equal scikit-learn's, one cell at a time."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from recart.data.background_mixture import lower_components

LEAST = 1e-3


def _cells(cells: int, proteins: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Log counts with a background and a foreground; a fifth of the proteins not measured."""
    rng = np.random.default_rng(seed)
    foreground = rng.random((cells, proteins)) < 0.35
    rate = np.where(foreground, 80.0, 3.0) * rng.gamma(2.0, 0.5, (cells, proteins))
    return np.log1p(rng.poisson(rate)).astype(float), rng.random((cells, proteins)) < 0.8


def _lower(fit: GaussianMixture) -> tuple[float, float]:
    low = int(fit.means_.argmin())
    return float(fit.means_[low, 0]), float(np.sqrt(fit.covariances_[low, 0, 0]))


def test_equals_scikit_learn_from_the_same_start() -> None:
    values, measured = _cells(60, 30, 0)
    mean, scale = lower_components(values, measured, LEAST)
    for cell, (row, own) in enumerate(zip(values, measured, strict=True)):
        x = np.sort(row[own])
        costs = [x[:i].var() * i + x[i:].var() * (len(x) - i) for i in range(1, len(x))]
        cut = 1 + int(np.argmin(costs))
        parts = [x[:cut], x[cut:]]
        start = GaussianMixture(
            2,
            reg_covar=LEAST,
            max_iter=200,
            tol=1e-2,
            weights_init=[len(part) / len(x) for part in parts],
            means_init=[[part.mean()] for part in parts],
            precisions_init=[[[1 / (part.var() + LEAST)]] for part in parts],
        )
        expected = _lower(start.fit(x[:, None]))
        assert (mean[cell], scale[cell]) == pytest.approx(expected, rel=1e-6)


def test_agrees_with_scikit_learn_from_its_own_start() -> None:
    values, measured = _cells(100, 60, 1)
    mean, scale = lower_components(values, measured, LEAST)
    expected = np.array(
        [
            _lower(
                GaussianMixture(2, random_state=0, reg_covar=LEAST, max_iter=200, tol=1e-2).fit(
                    row[own][:, None]
                )
            )
            for row, own in zip(values, measured, strict=True)
        ]
    )
    # what enters the prior is the mean over cells
    assert mean.mean() == pytest.approx(expected[:, 0].mean(), rel=0.01)
    assert scale.mean() == pytest.approx(expected[:, 1].mean(), rel=0.01)
    assert np.mean(np.isclose(mean, expected[:, 0], rtol=1e-3)) > 0.8


def test_a_cell_alone_is_fitted_as_in_company_and_missing_values_do_not_matter() -> None:
    values, measured = _cells(40, 20, 2)
    mean, scale = lower_components(values, measured, LEAST)
    changed = np.where(measured, values, 1e9)
    for cell in range(40):
        alone = lower_components(changed[[cell]], measured[[cell]], LEAST)
        np.testing.assert_allclose([mean[cell], scale[cell]], np.ravel(alone), rtol=1e-9)


def test_a_constant_cell_has_the_least_scale() -> None:
    values = np.full((2, 6), 1.5)
    values[1] = [0, 0, 0, 4, 4, 4]
    measured = np.ones((2, 6), dtype=bool)
    measured[1, 3:] = False
    mean, scale = lower_components(values, measured, LEAST)
    np.testing.assert_allclose(mean, [1.5, 0.0])
    np.testing.assert_allclose(scale, np.sqrt(LEAST))
