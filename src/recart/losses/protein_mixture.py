"""The mixture of two negative binomials for proteins, with its gradient taken in the same pass.

What torch would keep for the gradient is twenty arrays of cells x proteins; four do. The plain
formula, `log_nb_mixture`, is the reference that tests compare with.

With `r` the probability that a count is of the background, the derivative by a component's mean is
its share times `y / (mu + eps) - (y + theta) / (theta + mu + eps)`, by the logit of the background
`r - sigmoid(logit)`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recart.losses.negative_binomial import EPS, digamma, log_nb_mixture

__all__ = ["fused_log_nb_mixture"]


def fused_log_nb_mixture(
    y: Tensor,
    mu_background: Tensor,
    mu_foreground: Tensor,
    theta: Tensor,
    background_logits: Tensor,
) -> Tensor:
    """`log_nb_mixture`; `theta` is one row for all cells (m 1 a)."""
    given = (mu_background, mu_foreground, theta, background_logits.to(theta.dtype))
    with torch.autocast(theta.device.type, enabled=False):  # the likelihood keeps its digits
        if not torch.is_grad_enabled():
            return log_nb_mixture(y, *given)
        fused: Tensor = _FusedMixture.apply(y, *given)  # type: ignore[no-untyped-call]
        return fused


class _FusedMixture(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, y: Tensor, background: Tensor, foreground: Tensor, theta: Tensor, logits: Tensor
    ) -> Tensor:
        total = y + theta
        log_b, log_prob_b, slope_b = _component(y, total, background, theta)
        log_f, log_prob_f, slope_f = _component(y, total, foreground, theta)
        log_prob_f.sub_(logits)
        share = torch.sigmoid(log_prob_b - log_prob_f)
        by_theta = digamma(total).sub_(torch.digamma(theta))
        by_theta.add_(torch.log(theta + EPS) + theta / (theta + EPS))
        by_theta.sub_(torch.lerp(log_f, log_b, share))
        log_prob = torch.lgamma(total).sub_(torch.lgamma(theta)).sub_(torch.lgamma(y + 1))
        log_prob.add_(theta * torch.log(theta + EPS))
        log_prob.add_(torch.logaddexp(log_prob_b, log_prob_f))
        log_prob.sub_(torch.nn.functional.softplus(-logits))
        by_logits = share - torch.sigmoid(logits)
        ctx.save_for_backward(slope_b.mul_(share), slope_f.mul_(1 - share), by_theta, by_logits)
        return log_prob

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (given,) = gradients
        by_background, by_foreground, by_theta, by_logits = ctx.saved_tensors
        return (
            None,
            given * by_background,
            given * by_foreground,
            (given * by_theta).sum(1, keepdim=True),
            given * by_logits,
        )


def _component(
    y: Tensor, total: Tensor, mu: Tensor, theta: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What one component adds to the derivative by theta, its log NB, its derivative by `mu`.

    The log NB is without what both components share.
    """
    both = (theta + mu).add_(EPS)
    log_both = torch.log(both)
    floored = mu + EPS
    log_prob = (y * torch.log(floored)).sub_(total * log_both)
    ratio = total / both
    slope = (y / floored).sub_(ratio)
    return log_both.add_(ratio), log_prob, slope
