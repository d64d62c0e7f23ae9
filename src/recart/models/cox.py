"""Cox regression with a ridge, ties by Efron: many problems and strengths, batched Newton."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from recart.models.ridge_path import ConvexLosses, in_span_of_rows, ridge_path

__all__ = ["breslow_hazard", "efron_log_likelihood", "fit_cox"]


class _RiskSets(NamedTuple):
    """`share` (q, e, n): how far row n is at risk at event e; `event` (q, n): 1 for an event."""

    share: Tensor
    event: Tensor


def fit_cox(
    x_qnf: Float[Tensor, "q n f"],
    y_qn2: Float[Tensor, "q n 2"],
    weight_qn: Float[Tensor, "q n"],
    strength_qs: Float[Tensor, "q s"],
) -> Float[Tensor, "q s f"]:
    """Minimise `-log partial likelihood + strength / 2 |b|^2` for every problem and strength.

    `y_qn2` is time and event (1, or 0 where censored). Rows of weight 0 take no part, others count
    once. Of events at the same time each in turn leaves the risk set, in all orders at once, by
    Efron's approximation (JASA 1977, 72), which is exact without ties. With times in months and up
    to 200 patients (17 tied events) its coefficients are within 3 % of those of the mean over all
    orders, and rank patients alike (correlation above .9999; tests/models/test_exact_ties.py). With
    fewer rows than features the problem is solved in the span of its rows.

    Returns
    -------
    Coefficients (q, s, f), in float64.

    Raises
    ------
    ValueError
        If a problem has no event, or a weight is neither 0 nor 1.
    FloatingPointError
        If Newton's method has not converged.
    """
    x, w = x_qnf.double(), weight_qn.double()
    if not bool(((w == 0) | (w == 1)).all()):
        raise ValueError("Cox regression takes weights of 0 and 1")
    sets = _risk_sets(y_qn2.double(), w)
    if bool((sets.event.sum(-1) < 1).any()):
        raise ValueError("Cox regression needs an event; all rows are censored")
    x = torch.where((w > 0).unsqueeze(-1), x, 0.0)
    x, basis_qfr = in_span_of_rows(x)
    start = x.new_zeros(len(x), x.shape[-1])
    losses = _PartialLikelihoods(x, sets)
    beta = ridge_path(losses, start, strength_qs.double(), x.shape[-1], "Cox regression")
    return beta if basis_qfr is None else beta @ basis_qfr.mT


def efron_log_likelihood(
    eta_qn: Float[Tensor, "q n"], y_qn2: Float[Tensor, "q n 2"], weight_qn: Float[Tensor, "q n"]
) -> Float[Tensor, " q"]:
    """Log partial likelihood of log hazards `eta` over the rows of weight 1."""
    return _log_likelihood(eta_qn.double(), _risk_sets(y_qn2.double(), weight_qn.double()))


def breslow_hazard(
    eta_qn: Float[Tensor, "q n"],
    y_qn2: Float[Tensor, "q n 2"],
    weight_qn: Float[Tensor, "q n"],
    times_t: Float[Tensor, " t"],
) -> Float[Tensor, "q t"]:
    """Cumulative baseline hazard at `times`: with `eta` a row survives `exp(-hazard exp(eta))`.

    Each event adds one over the summed hazards of those at risk, less the part of its ties that
    Efron's likelihood has let go.
    """
    time = y_qn2[..., 0].double()
    eta, weight = eta_qn.double(), weight_qn.double()
    sets = _risk_sets(y_qn2.double(), weight)
    top = _top(eta, weight)
    at_risk = (sets.share @ torch.exp(eta - top).unsqueeze(-1)).squeeze(-1)
    jump = torch.where(sets.event > 0, torch.exp(-top) / at_risk.clamp_min(1e-300), 0.0)
    return (jump.unsqueeze(1) * (time.unsqueeze(1) <= times_t.double()[:, None])).sum(-1)


def _risk_sets(y: Tensor, w: Tensor) -> _RiskSets:
    time, event = y[..., 0], y[..., 1] * w
    e_time, n_time = time.unsqueeze(-1), time.unsqueeze(-2)
    at_risk = (n_time >= e_time) * w.unsqueeze(-2)
    tied = (n_time == e_time) * event.unsqueeze(-2)
    # of d tied events the r-th (from 0) finds r/d of them gone
    place = tied.tril(diagonal=-1).sum(-1) / tied.sum(-1).clamp_min(1.0)
    share = (at_risk - place.unsqueeze(-1) * tied) * event.unsqueeze(-1)
    return _RiskSets(share, event)


def _top(eta: Tensor, w: Tensor) -> Tensor:
    return torch.where(w > 0, eta, -torch.inf).amax(-1, keepdim=True)


def _log_likelihood(eta: Tensor, sets: _RiskSets) -> Tensor:
    top = eta.amax(-1, keepdim=True)
    at_risk = (sets.share @ torch.exp(eta - top).unsqueeze(-1)).squeeze(-1)
    own = eta - top - torch.log(torch.where(sets.event > 0, at_risk, 1.0))
    return (sets.event * own).sum(-1)


@dataclass(frozen=True)
class _PartialLikelihoods(ConvexLosses):
    """Negative log partial likelihoods."""

    x: Tensor
    sets: _RiskSets

    def value(self, beta_qt: Tensor) -> Tensor:
        return -_log_likelihood(self._eta(beta_qt), self.sets)

    def derivatives(self, beta_qt: Tensor) -> tuple[Tensor, Tensor]:
        x, sets, eta = self.x, self.sets, self._eta(beta_qt)
        hazard = torch.exp(eta - eta.amax(-1, keepdim=True))
        share = sets.share * hazard.unsqueeze(-2)
        total = share.sum(-1, keepdim=True)
        p_qen = torch.where(sets.event.unsqueeze(-1) > 0, share / total.clamp_min(1e-300), 0.0)
        expected = p_qen.sum(1)
        gradient = (x.mT @ (expected - sets.event).unsqueeze(-1)).squeeze(-1)
        mean_qef = p_qen @ x
        return gradient, x.mT @ (expected.unsqueeze(-1) * x) - mean_qef.mT @ mean_qef

    def kept(self, keep_q: Tensor) -> _PartialLikelihoods:
        sets = _RiskSets(self.sets.share[keep_q], self.sets.event[keep_q])
        return _PartialLikelihoods(self.x[keep_q], sets)

    def _eta(self, beta_qt: Tensor) -> Tensor:
        return (self.x @ beta_qt.unsqueeze(-1)).squeeze(-1)
