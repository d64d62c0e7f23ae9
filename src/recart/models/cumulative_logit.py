"""Cumulative logit regression with a ridge, solved exactly: many problems and strengths at once."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["fit_cumulative_logit", "level_log_probabilities"]

_MAX_STEPS = 200
_MAX_HALVINGS = 40
# on the Newton decrement before the last step; convergence is quadratic, so that step squares it
_TOLERANCE = 1e-8
# weight of the row that stands, with all features 0, for a level that no row has
_ABSENT = 0.5


def level_log_probabilities(
    eta: Float[Tensor, "*b"], cuts: Float[Tensor, "*b k"]
) -> Float[Tensor, "*b k+1"]:
    """Log probability of each of k + 1 ordered levels: `P(level > j) = sigmoid(eta + cuts[j])`.

    `cuts` fall strictly. Differences of two sigmoids are taken without cancellation.
    """
    z = eta.unsqueeze(-1) + cuts
    first = torch.nn.functional.logsigmoid(-z[..., :1])
    last = torch.nn.functional.logsigmoid(z[..., -1:])
    upper, lower = z[..., :-1], z[..., 1:]
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))
    between = (
        torch.nn.functional.logsigmoid(upper)
        + torch.nn.functional.logsigmoid(-lower)
        + torch.log(-torch.expm1(lower - upper))
    )
    return torch.cat((first, between, last), dim=-1)


def fit_cumulative_logit(
    x_qnf: Float[Tensor, "q n f"],
    y_qn: Int[Tensor, "q n"],
    weight_qn: Float[Tensor, "q n"],
    strength_qs: Float[Tensor, "q s"],
    levels: int,
) -> tuple[Float[Tensor, "q s f"], Float[Tensor, "q s k"]]:
    """Minimise `sum_n w_n nll(y_n; x_n b + cuts) + strength / 2 |b|^2` for every problem.

    Proportional odds: `P(y > j) = sigmoid(x b + cuts[j])`, cuts falling, not penalised. Rows of
    weight 0 take no part. A level that no weighted row has would leave its cuts without a place:
    it is given one row of weight 1/2 with all features 0. With two levels this is
    `recart.models.ridge_logistic`. The objective is convex (Pratt, JASA 1981, 76), Newton's method
    with halved steps keeps the cuts in order.

    Returns
    -------
    Coefficients (q, s, f) and cuts (q, s, levels - 1), in float64.

    Raises
    ------
    ValueError
        If the weighted rows of a problem have one level only.
    FloatingPointError
        If Newton's method has not converged.
    """
    x, w, y = x_qnf.double(), weight_qn.double(), y_qn.long()
    held_ql = torch.nn.functional.one_hot(y.clamp_min(0), levels) * w.unsqueeze(-1)
    present_ql = held_ql.sum(1)
    if bool(((present_ql > 0).sum(-1) < 2).any()):
        raise ValueError("an ordinal regression needs two levels; there is one only")
    x = torch.where((w > 0).unsqueeze(-1), x, 0.0)
    y = torch.where(w > 0, y, 0)
    basis_qfr = None
    if x.shape[-1] > x.shape[-2]:
        # any orthonormal basis keeps the norm of the coefficients; QR is the cheapest to get
        basis_qfr, triangle = torch.linalg.qr(x.mT)
        x = triangle.mT
    # one more row for each level, which weighs something where the level is absent
    x = torch.cat((x, x.new_zeros(len(x), levels, x.shape[-1])), dim=1)
    y = torch.cat((y, torch.arange(levels, device=y.device).expand(len(y), -1)), dim=1)
    w = torch.cat((w, torch.where(present_ql > 0, 0.0, _ABSENT)), dim=1)
    share = torch.nn.functional.one_hot(y, levels) * w.unsqueeze(-1)
    above = share.sum(1).flip(-1).cumsum(-1).flip(-1)[:, 1:] / w.sum(-1, keepdim=True)
    start = torch.cat((x.new_zeros(len(x), x.shape[-1]), torch.logit(above)), dim=-1)

    strength = strength_qs.double()
    # from the strongest ridge down, each from the solution before it
    order = strength.argsort(dim=-1, descending=True)
    each = torch.arange(len(x), device=x.device)
    beta = x.new_zeros(*strength.shape, start.shape[-1])
    for rank in range(strength.shape[-1]):
        own = order[:, rank]
        start = _newton(x, y, w, strength[each, own], start, levels)
        beta[each, own] = start
    coefficients, cuts = beta[..., : -(levels - 1)], beta[..., -(levels - 1) :]
    if basis_qfr is not None:
        coefficients = coefficients @ basis_qfr.mT
    return coefficients, cuts


def _newton(
    x: Tensor, y: Tensor, w: Tensor, strength: Tensor, start: Tensor, levels: int
) -> Tensor:
    """Solve every problem at its strength from `start` on; the cuts have no penalty."""
    f = x.shape[-1]
    penalty = strength.unsqueeze(-1).repeat(1, f + levels - 1)
    penalty[:, f:] = 0.0
    solved = torch.zeros_like(start)
    running = torch.arange(len(strength), device=strength.device)
    beta, value = start, _objective(x, y, w, start, penalty)
    for _ in range(_MAX_STEPS):
        gradient, hessian = _derivatives(x, y, w, beta, levels)
        gradient = gradient + penalty * beta
        hessian.diagonal(dim1=-2, dim2=-1).add_(penalty + 1e-12)
        factor = torch.linalg.cholesky(hessian)
        step = torch.cholesky_solve(gradient.unsqueeze(-1), factor).squeeze(-1)
        done = (gradient * step).sum(-1) < _TOLERANCE
        if bool(done.any()):
            solved[running[done]] = beta[done] - step[done]
            keep = ~done
            if not bool(keep.any()):
                return solved
            running, x, y, w = running[keep], x[keep], y[keep], w[keep]
            penalty, beta, value, step = penalty[keep], beta[keep], value[keep], step[keep]
        scale = torch.ones_like(value)
        for _ in range(_MAX_HALVINGS):  # halve only the steps that would climb, or cross two cuts
            trial = beta - scale.unsqueeze(-1) * step
            now = _objective(x, y, w, trial, penalty)
            worse = ~(now <= value + 1e-12)
            if not bool(worse.any()):
                break
            scale = torch.where(worse, scale / 2, scale)
        beta, value = trial, now
    raise FloatingPointError(f"cumulative logit regression: no convergence in {_MAX_STEPS} steps")


def _split(x: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    f = x.shape[-1]
    return (x @ beta[:, :f].unsqueeze(-1)).squeeze(-1), beta[:, f:]


def _objective(x: Tensor, y: Tensor, w: Tensor, beta: Tensor, penalty: Tensor) -> Tensor:
    """Penalised loss; NaN or infinite where cuts are not in order."""
    eta, cuts = _split(x, beta)
    log_p = level_log_probabilities(eta, cuts.unsqueeze(1).expand(-1, x.shape[1], -1))
    own = log_p.gather(-1, y.unsqueeze(-1)).squeeze(-1)
    loss = -torch.where(w > 0, w * own, 0.0).sum(-1)
    ordered = (cuts[:, 1:] < cuts[:, :-1]).all(-1)
    return torch.where(ordered, loss, torch.inf) + 0.5 * (penalty * beta.square()).sum(-1)


def _derivatives(
    x: Tensor, y: Tensor, w: Tensor, beta: Tensor, levels: int
) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian of the unpenalised loss in coefficients and cuts.

    A level lies between an upper bound, `a = eta + cuts[y - 1]`, and a lower one,
    `b = eta + cuts[y]`; the outermost bounds are infinite and move nothing.
    """
    eta, cuts = _split(x, beta)
    edges = torch.nn.functional.pad(cuts, (1, 0), value=torch.inf)
    edges = torch.nn.functional.pad(edges, (0, 1), value=-torch.inf)
    a, b = eta + edges.gather(1, y), eta + edges.gather(1, y + 1)
    p_a, p_b = torch.sigmoid(a), torch.sigmoid(b)
    # log P = logsigmoid(a) + logsigmoid(-b) + log(1 - exp(b - a)), and its derivatives
    gap = a - b
    r = torch.where(gap.isfinite(), 1 / torch.expm1(gap.clamp_min(1e-12)), 0.0)
    g_a, g_b = (1 - p_a) + r, -p_b - r
    cross = r * (1 + r)
    h_aa, h_bb = -(p_a * (1 - p_a)) - cross, -(p_b * (1 - p_b)) - cross
    # rows of derivatives of a and of b in (coefficients, cuts)
    picks = torch.nn.functional.one_hot(y, levels)
    d_a = torch.cat((x, picks[..., 1:].to(x)), dim=-1)
    d_b = torch.cat((x, picks[..., :-1].to(x)), dim=-1)
    at_a, at_b = w * g_a, w * g_b
    gradient = -(d_a.mT @ at_a.unsqueeze(-1) + d_b.mT @ at_b.unsqueeze(-1)).squeeze(-1)
    w_aa, w_bb, w_ab = w * h_aa, w * h_bb, w * cross
    mixed = d_a.mT @ (w_ab.unsqueeze(-1) * d_b)
    hessian = -(
        d_a.mT @ (w_aa.unsqueeze(-1) * d_a) + d_b.mT @ (w_bb.unsqueeze(-1) * d_b) + mixed + mixed.mT
    )
    return gradient, hessian
