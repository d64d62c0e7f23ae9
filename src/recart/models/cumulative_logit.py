"""Cumulative logit regression with a ridge, solved exactly: many problems and strengths at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from recart.models.ridge_path import ConvexLosses, in_span_of_rows, ridge_path

__all__ = ["fit_cumulative_logit", "level_log_probabilities"]

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
    x, basis_qfr = in_span_of_rows(x)
    # one more row for each level, which weighs something where the level is absent
    x = torch.cat((x, x.new_zeros(len(x), levels, x.shape[-1])), dim=1)
    y = torch.cat((y, torch.arange(levels, device=y.device).expand(len(y), -1)), dim=1)
    w = torch.cat((w, torch.where(present_ql > 0, 0.0, _ABSENT)), dim=1)
    share = torch.nn.functional.one_hot(y, levels) * w.unsqueeze(-1)
    above = share.sum(1).flip(-1).cumsum(-1).flip(-1)[:, 1:] / w.sum(-1, keepdim=True)
    start = torch.cat((x.new_zeros(len(x), x.shape[-1]), torch.logit(above)), dim=-1)
    losses = _CumulativeLogits(x, y, w, levels)
    beta = ridge_path(
        losses, start, strength_qs.double(), x.shape[-1], "cumulative logit regression"
    )
    coefficients, cuts = beta[..., : -(levels - 1)], beta[..., -(levels - 1) :]
    if basis_qfr is not None:
        coefficients = coefficients @ basis_qfr.mT
    return coefficients, cuts


@dataclass(frozen=True)
class _CumulativeLogits(ConvexLosses):
    """Weighted negative log likelihoods of coefficients and cuts."""

    x: Tensor
    y: Tensor
    w: Tensor
    levels: int

    def value(self, beta_qt: Tensor) -> Tensor:
        return _loss(self.x, self.y, self.w, beta_qt)

    def derivatives(self, beta_qt: Tensor) -> tuple[Tensor, Tensor]:
        return _derivatives(self.x, self.y, self.w, beta_qt, self.levels)

    def kept(self, keep_q: Tensor) -> _CumulativeLogits:
        return _CumulativeLogits(self.x[keep_q], self.y[keep_q], self.w[keep_q], self.levels)


def _split(x: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    f = x.shape[-1]
    return (x @ beta[:, :f].unsqueeze(-1)).squeeze(-1), beta[:, f:]


def _loss(x: Tensor, y: Tensor, w: Tensor, beta: Tensor) -> Tensor:
    """Infinite where cuts are not in order."""
    eta, cuts = _split(x, beta)
    log_p = level_log_probabilities(eta, cuts.unsqueeze(1).expand(-1, x.shape[1], -1))
    own = log_p.gather(-1, y.unsqueeze(-1)).squeeze(-1)
    loss = -torch.where(w > 0, w * own, 0.0).sum(-1)
    ordered = (cuts[:, 1:] < cuts[:, :-1]).all(-1)
    return torch.where(ordered, loss, torch.inf)


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
