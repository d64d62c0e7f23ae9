"""Negative binomial log likelihoods, in the mean and inverse-dispersion form of scvi-tools.

`NB(x; mu, theta)` has mean `mu` and variance `mu + mu**2 / theta`. All functions are summed over
features so that no array of cells x genes outlives its use.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["EPS", "digamma", "log_nb", "log_nb_mixture", "log_nb_sum", "log_zinb", "sample_nb"]

EPS = 1e-8  # as in scvi-tools, so that losses are equal and not only close


def log_nb(x: Tensor, mu: Tensor, theta: Tensor) -> Tensor:
    """Elementwise log NB(x; mu, theta): the plain formula, kept as reference for `log_nb_sum`."""
    log_theta_mu = torch.log(theta + mu + EPS)
    return (
        theta * (torch.log(theta + EPS) - log_theta_mu)
        + x * (torch.log(mu + EPS) - log_theta_mu)
        + torch.lgamma(x + theta)
        - torch.lgamma(theta)
        - torch.lgamma(x + 1)
    )


def log_nb_sum(
    x_mbg: Float[Tensor, "m b g"],
    mu_mbg: Float[Tensor, "m b g"],
    theta_mbg: Float[Tensor, " m #b g"],
    mask_mg: Bool[Tensor, "m g"],
) -> Float[Tensor, "m b"]:
    """Log NB summed over genes; terms in `x` are evaluated only where `x > 0`.

    At `x = 0` all of them vanish, so for sparse counts `lgamma` and its gradient run on the
    non-zeros alone. `theta_mbg` may have one row for all cells (dispersion per gene).
    """
    log_theta_mu = torch.log(theta_mbg + mu_mbg + EPS)
    at_zero = theta_mbg * (torch.log(theta_mbg + EPS) - log_theta_mu)
    mask_m1g = mask_mg.unsqueeze(1)
    total_mb = torch.where(mask_m1g, at_zero, 0.0).sum(-1)

    m, b, g = torch.nonzero((x_mbg > 0) & mask_m1g, as_tuple=True)
    x = x_mbg[m, b, g]
    theta = theta_mbg[m, b if theta_mbg.shape[1] > 1 else torch.zeros_like(b), g]
    counted = (
        x * (torch.log(mu_mbg[m, b, g] + EPS) - log_theta_mu[m, b, g])
        + torch.lgamma(x + theta)
        - torch.lgamma(theta)
        - torch.lgamma(x + 1)
    )
    flat = total_mb.reshape(-1).index_add(0, m * x_mbg.shape[1] + b, counted)
    return flat.view_as(total_mb)


def log_zinb(x: Tensor, mu: Tensor, theta: Tensor, zero_logits: Tensor) -> Tensor:
    """Elementwise log ZINB; `zero_logits` is the logit of the extra-zero component."""
    softplus_pi = softplus(-zero_logits)
    log_theta_mu = torch.log(theta + mu + EPS)
    pi_theta_log = -zero_logits + theta * (torch.log(theta + EPS) - log_theta_mu)
    zero = softplus(pi_theta_log) - softplus_pi
    positive = -softplus_pi - zero_logits + log_nb(x, mu, theta)
    return torch.where(x < EPS, zero, positive)


def log_nb_mixture(
    y: Tensor,
    mu_background: Tensor,
    mu_foreground: Tensor,
    theta: Tensor,
    background_logits: Tensor,
) -> Tensor:
    """Elementwise log likelihood of totalVI's two-component NB mixture for proteins.

    `background_logits` is the logit of the background component (Gayoso et al., Nature Methods
    2021, eq. 6).
    """
    log_theta = theta * torch.log(theta + EPS)
    log_theta_background = torch.log(theta + mu_background + EPS)
    log_theta_foreground = torch.log(theta + mu_foreground + EPS)
    # the factorial terms are the same in both components
    shared = torch.lgamma(y + theta) - torch.lgamma(theta) - torch.lgamma(y + 1) + log_theta
    background = y * torch.log(mu_background + EPS) - (y + theta) * log_theta_background
    foreground = y * torch.log(mu_foreground + EPS) - (y + theta) * log_theta_foreground
    return (
        shared
        + torch.logaddexp(background, foreground - background_logits)
        - softplus(-background_logits)
    )


def digamma(z: Tensor) -> Tensor:
    """The digamma function for `z > 0`; in float32 ten times as fast as torch's on a CPU.

    Recurrence by four, `sum 1 / (z + k) = (2 z + 3)(2 u + 2) / (u (u + 2))` with `u = z (z + 3)`,
    then the asymptotic series (Abramowitz & Stegun 6.3.18).
    """
    if z.dtype == torch.float64:
        return torch.digamma(z)
    u = z * (z + 3)
    shift = (2 * z + 3) * (2 * u + 2) / (u * (u + 2))
    r = (z + 4).reciprocal()
    s = r * r
    series = s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s / 240)))
    return -(torch.log(r) + 0.5 * r + series + shift)


def sample_nb(mean: Tensor, theta: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma-Poisson counts of these means and inverse dispersions, drawn on the CPU."""
    mean, theta = mean.cpu(), theta.cpu().expand_as(mean)
    # no argument of torch's gamma distribution takes a generator
    rate = torch._standard_gamma(theta, generator) * mean / theta
    return torch.poisson(rate, generator=generator)
