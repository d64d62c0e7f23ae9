"""The fused protein mixture equals the plain formula, in value and gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from recart.losses.negative_binomial import log_nb_mixture
from recart.losses.protein_mixture import fused_log_nb_mixture

M, B, A = 2, 31, 9
Inputs = tuple[Tensor, list[Tensor], Tensor]


def _case(dtype: torch.dtype) -> Inputs:
    g = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    y = torch.poisson(torch.rand(M, B, A, generator=g, dtype=torch.float64) ** 3 * 300, g)
    y[:, :3] = 0.0
    background = (1.5 * normal(M, B, A)).exp()
    foreground = background * (1 + (2 * normal(M, B, A)).exp())
    leaves = [background, foreground, normal(M, 1, A).exp(), 3 * normal(M, B, A)]
    weight = torch.rand(M, B, A, generator=g, dtype=torch.float64)
    return y.to(dtype), [own.to(dtype) for own in leaves], weight.to(dtype)


def _value_and_gradients(log_prob: Callable[..., Tensor], case: Inputs) -> list[Tensor]:
    y, given, weight = case
    leaves = [own.clone().requires_grad_() for own in given]
    value = log_prob(y, *leaves)
    return [value.detach(), *torch.autograd.grad((value * weight).sum(), leaves)]


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_equals_the_plain_formula(dtype: torch.dtype, digits: float) -> None:
    expected = _value_and_gradients(log_nb_mixture, _case(dtype))
    got = _value_and_gradients(fused_log_nb_mixture, _case(dtype))
    for ours, theirs in zip(got, expected, strict=True):
        assert (ours - theirs).abs().max() <= digits * theirs.abs().max()


def test_without_gradients_the_value_is_the_same() -> None:
    y, given, _ = _case(torch.float32)
    with torch.no_grad():
        value = fused_log_nb_mixture(y, *given)
    torch.testing.assert_close(value, log_nb_mixture(y, *given), rtol=0, atol=0)


@pytest.mark.parametrize("count", [0.0, 1e6])
@pytest.mark.parametrize("logit", [-80.0, 80.0])
def test_stays_finite_at_the_edges(count: float, logit: float) -> None:
    leaves = [torch.tensor([[[v]]], requires_grad=True) for v in (1e-3, 50.0, 1.0, logit)]
    value = fused_log_nb_mixture(torch.tensor([[[count]]]), *leaves)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert all(leaf.grad is not None and torch.isfinite(leaf.grad).all() for leaf in leaves)
