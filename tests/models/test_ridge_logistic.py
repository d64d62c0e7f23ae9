"""A stack of ridge problems: each as if it were alone, at its minimum, at every strength."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recart.models.ridge_logistic import fit_ridge_logistic

STRENGTHS = torch.tensor([0.003, 0.3, 30.0], dtype=torch.float64)


def _problems(n: int, f: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n + f)
    x = torch.randn(4, n, f, generator=generator, dtype=torch.float64)
    # from noise to all but separable
    slope = torch.tensor([0.0, 0.5, 2.0, 50.0], dtype=torch.float64)
    noise = torch.randn(4, n, generator=generator, dtype=torch.float64)
    y = (slope[:, None] * x[..., 0] + noise > 0).double()
    weight = torch.ones(4, n, dtype=torch.float64)
    weight[:, -3:] = 0.0
    return x, y, weight


@pytest.mark.parametrize(("n", "f"), [(40, 6), (20, 60)])
def test_gradient_vanishes_at_every_strength(n: int, f: int) -> None:
    x, y, weight = _problems(n, f)
    coefficients, intercepts = fit_ridge_logistic(x, y, weight, STRENGTHS.expand(4, -1))
    assert coefficients.shape == (4, 3, f)
    logits = coefficients @ x.mT + intercepts.unsqueeze(-1)
    residual = weight.unsqueeze(1) * (torch.sigmoid(logits) - y.unsqueeze(1))
    gradient = residual @ x + STRENGTHS[None, :, None] * coefficients
    assert gradient.abs().max() < 1e-3
    assert residual.sum(-1).abs().max() < 1e-3
    # the stronger the ridge, the smaller the coefficients
    norms = coefficients.norm(dim=-1)
    assert bool((norms[:, :-1] > norms[:, 1:]).all())


@pytest.mark.parametrize(("n", "f"), [(40, 6), (20, 60)])
def test_together_equals_alone(n: int, f: int) -> None:
    x, y, weight = _problems(n, f)
    together = fit_ridge_logistic(x, y, weight, STRENGTHS.expand(4, -1))
    for q in range(4):
        one = slice(q, q + 1)
        alone = fit_ridge_logistic(x[one], y[one], weight[one], STRENGTHS[None])
        for part, own in zip(together, alone, strict=True):
            torch.testing.assert_close(part[q], own[0], rtol=1e-9, atol=1e-10)
        for s in range(3):  # a strength alone starts elsewhere
            alone = fit_ridge_logistic(x[one], y[one], weight[one], STRENGTHS[None, s : s + 1])
            for part, own in zip(together, alone, strict=True):
                torch.testing.assert_close(part[q, s], own[0, 0], rtol=1e-6, atol=1e-7)


def test_rows_without_weight_may_hold_anything_finite() -> None:
    x, y, weight = _problems(20, 60)
    expected = fit_ridge_logistic(x, y, weight, STRENGTHS.expand(4, -1))
    x[:, -3:], y[:, -3:] = 1e6, 1.0
    found = fit_ridge_logistic(x, y, weight, STRENGTHS.expand(4, -1))
    torch.testing.assert_close(found, expected)
