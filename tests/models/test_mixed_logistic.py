"""The mixed model of bags: its mode, its curvature, and what it is without weighting."""

from __future__ import annotations

import numpy as np
import torch

from recart.models.mixed_logistic import (
    Effects,
    MixedBags,
    fit_mixed_logistic,
    posterior_covariance,
)
from recart.models.ridge_logistic import fit_ridge_logistic

STRENGTH, WEIGHTING = torch.tensor([0.3]).double(), torch.tensor([0.5]).double()
NONE = torch.tensor([torch.inf]).double()


def _bags(n: int = 40, members: int = 1, seed: int = 0) -> tuple[MixedBags, torch.Tensor]:
    """Cells of which only those high in the second dimension carry the response, in the first."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(members, n, 12, 3))
    mask = rng.random((members, n, 12)) < 0.8
    mask[..., 0] = True
    fixed = np.concatenate([rng.normal(size=(members, n, 1)), np.ones((members, n, 1))], -1)
    weight = np.exp(2 * x[..., 1]) * mask
    logit = 3 * (weight * x[..., 0]).sum(-1) / weight.sum(-1) + fixed[..., 0]
    y = rng.random((members, n)) < 1 / (1 + np.exp(-logit))
    parts = (torch.from_numpy(part) for part in (fixed, x, mask))
    return MixedBags(*parts), torch.from_numpy(y.astype(np.float64))


def _negative_log_posterior(
    bags: MixedBags, y: torch.Tensor, theta: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Written down anew, for one member and problem."""
    fixed, value, weighting = theta.split([2, 3, 3])
    score = (bags.x_mnci[0] @ weighting).masked_fill(~bags.mask_mnc[0], -torch.inf)
    share = torch.softmax(score, -1)
    logit = bags.fixed_mnf[0] @ fixed + (share * (bags.x_mnci[0] @ value)).sum(-1)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, y[0], reduction="none")
    prior = STRENGTH * (fixed[0] ** 2 + value.square().sum()) + WEIGHTING * weighting.square().sum()
    return (weight * loss).sum() + 0.5 * prior.squeeze()


def test_the_mode_has_no_gradient_and_finds_the_weighting() -> None:
    bags, y = _bags(200)
    weight = torch.ones(1, 1, 200).double()
    effects, _ = fit_mixed_logistic(bags, y, weight, STRENGTH, WEIGHTING)
    theta = effects.joined[0, 0].clone().requires_grad_()
    _negative_log_posterior(bags, y, theta, weight[0, 0]).backward()
    assert float(theta.grad.abs().max()) < 1e-4
    weighting = effects.weighting_mpi[0, 0]
    assert float(weighting[1]) > 1.0
    assert float(weighting[1]) > 3 * float(weighting[[0, 2]].abs().max())


def test_without_weighting_it_is_a_ridge_on_the_mean_cell() -> None:
    bags, y = _bags()
    weight = torch.ones(1, 1, 40).double()
    effects, logits = fit_mixed_logistic(bags, y, weight, STRENGTH, NONE)
    share = bags.mask_mnc.double() / bags.mask_mnc.sum(-1, keepdim=True)
    mean = torch.einsum("mnc,mnci->mni", share, bags.x_mnci)
    design = torch.cat((bags.fixed_mnf[..., :1], mean), -1)
    expected, intercept = fit_ridge_logistic(design, y, weight[0], STRENGTH[None])
    torch.testing.assert_close(logits[0, 0], design[0] @ expected[0, 0] + intercept[0, 0])
    assert bool((effects.weighting_mpi == 0).all())


def test_covariance_is_the_inverse_curvature_of_the_linearised_model() -> None:
    bags, y = _bags()
    weight = torch.ones(1, 1, 40).double()
    effects, logits = fit_mixed_logistic(bags, y, weight, STRENGTH, WEIGHTING)
    covariance = posterior_covariance(bags, effects, weight, STRENGTH, WEIGHTING)[0, 0]
    theta = effects.joined[0, 0]

    def logit(own: torch.Tensor) -> torch.Tensor:
        fixed, value, weighting = own.split([2, 3, 3])
        score = (bags.x_mnci[0] @ weighting).masked_fill(~bags.mask_mnc[0], -torch.inf)
        share = torch.softmax(score, -1)
        return bags.fixed_mnf[0] @ fixed + (share * (bags.x_mnci[0] @ value)).sum(-1)

    jacobian = torch.autograd.functional.jacobian(logit, theta)
    p = torch.sigmoid(logits[0, 0])
    precision = torch.tensor([0.3, 1e-9, 0.3, 0.3, 0.3, 0.5, 0.5, 0.5]).double()
    hessian = jacobian.T @ ((p * (1 - p)).unsqueeze(-1) * jacobian) + torch.diag(precision)
    torch.testing.assert_close(covariance, torch.linalg.inv(hessian), rtol=1e-6, atol=1e-8)


def test_problems_in_company_are_as_alone_and_rows_without_weight_take_no_part() -> None:
    bags, y = _bags(40, members=2)
    weight = torch.ones(2, 3, 40).double()
    weight[:, 1, 30:] = 0
    strength = torch.tensor([0.3, 0.3, 5.0]).double()
    weighting = torch.tensor([0.5, 0.5, torch.inf]).double()
    together, _ = fit_mixed_logistic(bags, y, weight, strength, weighting)
    for m in range(2):
        for p in range(3):
            rows = slice(0, 30) if p == 1 else slice(None)
            alone = MixedBags(*(part[m : m + 1, rows] for part in bags))
            effects, _ = fit_mixed_logistic(
                alone,
                y[m : m + 1, rows],
                weight[m : m + 1, p : p + 1, rows],
                strength[p : p + 1],
                weighting[p : p + 1],
            )
            torch.testing.assert_close(
                effects.joined[0, 0], together.joined[m, p], rtol=1e-8, atol=1e-8
            )


def test_effects_are_split_as_they_were_joined() -> None:
    effects = Effects(torch.zeros(1, 1, 2), torch.ones(1, 1, 3), torch.full((1, 1, 3), 2.0))
    for own, again in zip(effects, effects.split(effects.joined), strict=True):
        torch.testing.assert_close(own, again)
