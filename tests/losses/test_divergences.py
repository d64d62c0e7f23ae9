"""The divergences against torch.distributions."""

from __future__ import annotations

import torch
from torch.distributions import LogNormal, Normal, kl_divergence

from recart.losses.divergences import kl_normal, kl_standard_normal, log_standard_lognormal


def _draw(seed: int) -> torch.Tensor:
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_kl_of_normals() -> None:
    mean, scale = _draw(0), _draw(1).exp()
    prior_mean, prior_scale = _draw(2), _draw(3).exp()
    expected = kl_divergence(Normal(mean, scale), Normal(prior_mean, prior_scale))
    torch.testing.assert_close(kl_normal(mean, scale, prior_mean, prior_scale), expected)
    same = kl_normal(mean, scale, mean, scale)
    torch.testing.assert_close(same, torch.zeros_like(same), rtol=0, atol=1e-12)


def test_kl_takes_the_variance_against_the_standard_normal() -> None:
    mean, variance = _draw(0), _draw(1).exp()
    expected = kl_divergence(Normal(mean, variance.sqrt()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_standard_normal(mean, variance), expected)


def test_lognormal_density_takes_the_logarithm() -> None:
    log_value = _draw(4)
    expected = LogNormal(torch.tensor(0.0).double(), torch.tensor(1.0).double())
    torch.testing.assert_close(
        log_standard_lognormal(log_value), expected.log_prob(log_value.exp())
    )


def test_gradients() -> None:
    leaves = (_draw(0).requires_grad_(), _draw(1).exp().requires_grad_())
    prior = (_draw(2).requires_grad_(), _draw(3).exp().requires_grad_())
    assert torch.autograd.gradcheck(kl_normal, (*leaves, *prior))
    assert torch.autograd.gradcheck(kl_standard_normal, leaves)
    assert torch.autograd.gradcheck(log_standard_lognormal, leaves[:1])


def test_tiny_scales_stay_finite() -> None:
    # decoder scales start at 1e-8, priors are held above 1e-6
    scale = torch.tensor([1e-8, 1e3], requires_grad=True)
    value = kl_normal(torch.zeros(2), scale, torch.zeros(2), torch.tensor([1e3, 1e-6]))
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert scale.grad is not None
    assert torch.isfinite(scale.grad).all()
