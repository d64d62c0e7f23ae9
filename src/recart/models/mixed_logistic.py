"""Mixed logistic model of bags: fixed effects, and a random effect that weighs the cells itself.

The logit of a bag is `F a + sum_c w_c x_c b` with weights `w = softmax_c(x_c u)` over its cells, as
in MixMIL (Engelmann et al., 2024). Effects `b` and `u` have Gaussian priors; with `u = 0` cells
weigh the same and the model is a logistic mixed model of the mean cell.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recart.models.gated_attention import masked_softmax
from recart.models.ridge_logistic import fit_ridge_logistic

__all__ = ["Effects", "MixedBags", "fit_mixed_logistic", "posterior_covariance"]

_MAX_STEPS = 60
_MAX_HALVINGS = 20
_TOLERANCE = 1e-10  # on the decrement of a step


class MixedBags(NamedTuple):
    """Bags of every member: fixed effects, cells, which of them are there."""

    fixed_mnf: Float[Tensor, "m n f"]
    x_mnci: Float[Tensor, "m n c i"]
    mask_mnc: Bool[Tensor, "m n c"]


class Effects(NamedTuple):
    """Of every member and problem; the intercept is the last fixed effect."""

    fixed_mpf: Float[Tensor, "m p f"]
    value_mpi: Float[Tensor, "m p i"]
    weighting_mpi: Float[Tensor, "m p i"]

    @property
    def joined(self) -> Float[Tensor, "m p t"]:
        """All in one."""
        return torch.cat(self, dim=-1)

    def split(self, joined: Float[Tensor, "m p t"]) -> Effects:
        """The opposite, of the same sizes."""
        sizes = [own.shape[-1] for own in self]
        return Effects(*torch.split(joined, sizes, dim=-1))


def fit_mixed_logistic(
    bags: MixedBags,
    y_mn: Float[Tensor, "m n"],
    weight_mpn: Float[Tensor, "m p n"],
    strength_p: Float[Tensor, " p"],
    weighting_p: Float[Tensor, " p"],
) -> tuple[Effects, Float[Tensor, "m p n"]]:
    """Posterior mode of every member and problem, and the logits of all bags.

    Begins at the exact solution without weighting, then takes damped Gauss-Newton steps. The prior
    precision is `strength_p` for fixed effects other than the intercept, and for values, and
    `weighting_p` for the weighting, which stays 0 where that is infinite. A problem that has
    converged rests, so that its company changes nothing. Rows of weight 0 take no part.
    """
    start = _without_weighting(bags, y_mn, weight_mpn, strength_p)
    precision_pt, free_pt = _prior(start, strength_p, weighting_p)
    theta = start.joined
    running_mp = torch.isfinite(weighting_p).expand(theta.shape[:2]).clone()
    for _ in range(_MAX_STEPS):
        own = running_mp.any(0).nonzero().squeeze(-1)  # problems that some member still moves
        if not len(own):
            break
        problem = _Problem(bags, y_mn, weight_mpn[:, own], precision_pt[own], free_pt[own], start)
        theta[:, own], running_mp[:, own] = problem.step(theta[:, own], running_mp[:, own])
    effects = start.split(theta)
    return effects, _logits(bags, effects)


class _Problem(NamedTuple):
    """What a step of Gauss and Newton needs."""

    bags: MixedBags
    y_mn: Tensor
    weight_mpn: Tensor
    precision_pt: Tensor
    free_pt: Tensor
    sizes: Effects

    def step(self, theta: Tensor, running: Tensor) -> tuple[Tensor, Tensor]:
        """Effects after a step that does not climb, and which of them are to go on."""
        logits, jacobian = _linearised(self.bags, self.sizes.split(theta))
        hessian, gradient = _curvature(
            logits,
            jacobian * self.free_pt.unsqueeze(-2),
            theta,
            self.y_mn,
            self.weight_mpn,
            self.precision_pt,
        )
        step = torch.linalg.solve(hessian, gradient.unsqueeze(-1)).squeeze(-1)
        running = running & ((step * gradient).sum(-1) > _TOLERANCE)
        value = self._objective(logits, theta)
        scale = running.to(theta.dtype)
        trial, climbing = theta, running
        for _ in range(_MAX_HALVINGS):
            trial = theta - scale.unsqueeze(-1) * step
            now = self._objective(_logits(self.bags, self.sizes.split(trial)), trial)
            climbing = running & (now > value)
            if not bool(climbing.any()):
                break
            scale = torch.where(climbing, scale / 2, scale)
        running = running & ~climbing
        return torch.where(running.unsqueeze(-1), trial, theta), running

    def _objective(self, logits: Tensor, theta: Tensor) -> Tensor:
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, self.y_mn.unsqueeze(1).expand(logits.shape), reduction="none"
        )
        prior = (self.precision_pt * theta.square()).sum(-1)
        return (self.weight_mpn * loss).sum(-1) + 0.5 * prior


def posterior_covariance(
    bags: MixedBags,
    effects: Effects,
    weight_mpn: Float[Tensor, "m p n"],
    strength_p: Float[Tensor, " p"],
    weighting_p: Float[Tensor, " p"],
) -> Float[Tensor, "m p t t"]:
    """Laplace approximation at the mode, with the Gauss-Newton curvature.

    It is the prior less a matrix of rank `n` at most: bags can't say more. The weighting has no
    variance where its prior precision is infinite.
    """
    precision_pt, free_pt = _prior(effects, strength_p, weighting_p)
    logits, jacobian = _linearised(bags, effects)
    y = torch.zeros(logits.shape[0], logits.shape[2], dtype=logits.dtype)
    hessian, _ = _curvature(
        logits, jacobian * free_pt.unsqueeze(-2), effects.joined, y, weight_mpn, precision_pt
    )
    covariance: Tensor = torch.linalg.inv(hessian)
    return covariance * free_pt.unsqueeze(-1) * free_pt.unsqueeze(-2)


def _without_weighting(
    bags: MixedBags, y_mn: Tensor, weight_mpn: Tensor, strength_p: Tensor
) -> Effects:
    """The convex problem: every cell weighs the same."""
    members, problems, _ = weight_mpn.shape
    share = masked_softmax(torch.zeros(bags.mask_mnc.shape).double(), bags.mask_mnc)
    mean_mni = torch.einsum("mnc,mnci->mni", share, bags.x_mnci)
    design = torch.cat((bags.fixed_mnf[..., :-1], mean_mni), dim=-1)
    coefficients, intercept = fit_ridge_logistic(
        design.repeat_interleave(problems, 0),
        y_mn.repeat_interleave(problems, 0),
        weight_mpn.flatten(0, 1),
        strength_p.repeat(members).unsqueeze(-1),
    )
    beta = coefficients[:, 0].view(members, problems, -1)
    fixed = bags.fixed_mnf.shape[-1] - 1
    return Effects(
        torch.cat((beta[..., :fixed], intercept.view(members, problems, 1)), dim=-1),
        beta[..., fixed:],
        torch.zeros_like(beta[..., fixed:]),
    )


def _prior(effects: Effects, strength_p: Tensor, weighting_p: Tensor) -> tuple[Tensor, Tensor]:
    """(p, t) prior precision of each effect, and 0 where it can't move."""
    fixed, values, weighting = (own.shape[-1] for own in effects)
    finite_p = torch.isfinite(weighting_p)
    precision = torch.cat(
        (
            strength_p[:, None].expand(-1, fixed - 1),
            torch.full((len(strength_p), 1), 1e-9).double(),
            strength_p[:, None].expand(-1, values),
            torch.where(finite_p, weighting_p, 1.0)[:, None].expand(-1, weighting),
        ),
        dim=-1,
    )
    free = torch.ones_like(precision)
    free[:, fixed + values :] = finite_p.to(precision.dtype).unsqueeze(-1)
    return precision, free


def _weighted(bags: MixedBags, effects: Effects) -> tuple[Tensor, Tensor, Tensor]:
    """(m, p, n, c) weights and values of cells, and (m, p, n) logits."""
    score = torch.einsum("mnci,mpi->mpnc", bags.x_mnci, effects.weighting_mpi)
    weight = masked_softmax(score, bags.mask_mnc.unsqueeze(1).expand(score.shape))
    value = torch.einsum("mnci,mpi->mpnc", bags.x_mnci, effects.value_mpi)
    fixed = torch.einsum("mnf,mpf->mpn", bags.fixed_mnf, effects.fixed_mpf)
    return weight, value, fixed + (weight * value).sum(-1)


def _logits(bags: MixedBags, effects: Effects) -> Tensor:
    return _weighted(bags, effects)[2]


def _linearised(bags: MixedBags, effects: Effects) -> tuple[Tensor, Tensor]:
    """(m, p, n) logits and (m, p, n, t) their derivatives."""
    weight, value, logits = _weighted(bags, effects)
    mean = torch.einsum("mpnc,mnci->mpni", weight, bags.x_mnci)
    centred = weight * (value - (weight * value).sum(-1, keepdim=True))
    slope = torch.einsum("mpnc,mnci->mpni", centred, bags.x_mnci)
    fixed = bags.fixed_mnf.unsqueeze(1).expand(-1, mean.shape[1], -1, -1)
    return logits, torch.cat((fixed, mean, slope), dim=-1)


def _curvature(
    logits: Tensor,
    jacobian: Tensor,
    theta: Tensor,
    y_mn: Tensor,
    weight_mpn: Tensor,
    precision_pt: Tensor,
) -> tuple[Tensor, Tensor]:
    """(m, p, t, t) Gauss-Newton Hessian and (m, p, t) gradient."""
    p = torch.sigmoid(logits)
    information = (weight_mpn * p * (1 - p)).unsqueeze(-1)
    hessian = jacobian.mT @ (information * jacobian) + torch.diag_embed(precision_pt)
    residual = (weight_mpn * (p - y_mn.unsqueeze(1))).unsqueeze(-1)
    return hessian, (jacobian.mT @ residual).squeeze(-1) + precision_pt * theta
