"""Cox regression with a ridge, exact ties: many problems and strengths, batched Newton."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from recart.models.ridge_path import ConvexLosses, in_span_of_rows, ridge_path
from recart.models.tied_events import log_probability, log_probability_derivatives

__all__ = ["breslow_hazard", "fit_cox", "log_partial_likelihood"]


# in each of the arrays of problems that are solved at once
_NUMBERS: Final = 1 << 21


class _RiskSets(NamedTuple):
    """Who is at risk when, as 1 or 0.

    `event` (q, n): rows with an event. Of each of them (q, e, n) `tied`, the events of its time,
    and `later`, all others who are at risk then.
    """

    event: Tensor
    tied: Tensor
    later: Tensor


def fit_cox(
    x_qnf: Float[Tensor, "q n f"],
    y_qn2: Float[Tensor, "q n 2"],
    weight_qn: Float[Tensor, "q n"],
    strength_qs: Float[Tensor, "q s"],
) -> Float[Tensor, "q s f"]:
    """Minimise `-log partial likelihood + strength / 2 |b|^2` for every problem and strength.

    `y_qn2` is time and event (1, or 0 where censored). Rows of weight 0 take no part, others count
    once. Events at the same time count in every order in which they can have happened (see
    `tied_events`): where visits are months apart, Efron's approximation is not near enough to that.
    With fewer rows than features the problem is solved in the span of its rows.

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


def log_partial_likelihood(
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

    Each event adds one over the summed hazards of those at risk; of d tied ones the r-th finds r/d
    of them gone (Efron, JASA 1977, 72).
    """
    time = y_qn2[..., 0].double()
    eta, weight = eta_qn.double(), weight_qn.double()
    event, tied, later = _risk_sets(y_qn2.double(), weight)
    top = _top(eta, weight)
    place = tied.tril(diagonal=-1).sum(-1) / tied.sum(-1).clamp_min(1.0)
    left = later + (1 - place.unsqueeze(-1)) * tied
    at_risk = (left @ torch.exp(eta - top).unsqueeze(-1)).squeeze(-1)
    jump = torch.where(event > 0, torch.exp(-top) / at_risk.clamp_min(1e-300), 0.0)
    return (jump.unsqueeze(1) * (time.unsqueeze(1) <= times_t.double()[:, None])).sum(-1)


def _risk_sets(y: Tensor, w: Tensor) -> _RiskSets:
    time, event = y[..., 0], y[..., 1] * w
    e_time, n_time = time.unsqueeze(-1), time.unsqueeze(-2)
    tied = (n_time == e_time) * event.unsqueeze(-2) * event.unsqueeze(-1)
    later = (n_time >= e_time) * w.unsqueeze(-2) * event.unsqueeze(-1) - tied
    return _RiskSets(event, tied, later)


def _top(eta: Tensor, w: Tensor) -> Tensor:
    return torch.where(w > 0, eta, -torch.inf).amax(-1, keepdim=True)


def _against_later(eta: Tensor, sets: _RiskSets) -> tuple[Tensor, Tensor, Tensor]:
    """Of each event its log hazard over that of all later ones, whether there are any, and theirs.

    The last is (q, e, n): shares of the later rows, which sum to 1 where there are any.
    """
    eta = eta - eta.amax(-1, keepdim=True)
    share = sets.later * torch.exp(eta).unsqueeze(-2)
    total = share.sum(-1)
    counts = total > 0  # else nothing is left that could have come before
    log_total = torch.log(torch.where(counts, total, 1.0))
    log_r = torch.where(counts, eta - log_total, 0.0)
    return log_r, counts, share / total.unsqueeze(-1).clamp_min(1e-300)


def _log_likelihood(eta: Tensor, sets: _RiskSets) -> Tensor:
    log_r, counts, _ = _against_later(eta, sets)
    told = log_probability(log_r, sets.tied)
    return torch.where(counts & (sets.event > 0), told, 0.0).sum(-1)


@dataclass(frozen=True)
class _PartialLikelihoods(ConvexLosses):
    """Negative log partial likelihoods."""

    x: Tensor
    sets: _RiskSets

    def value(self, beta_qt: Tensor) -> Tensor:
        eta = self._eta(beta_qt)
        return torch.cat([-_log_likelihood(eta[own], self._of(own)) for own in self._some()])

    def derivatives(self, beta_qt: Tensor) -> tuple[Tensor, Tensor]:
        eta = self._eta(beta_qt)
        parts = [_derivatives(self.x[own], eta[own], self._of(own)) for own in self._some()]
        gradients, hessians = zip(*parts, strict=True)
        return torch.cat(gradients), torch.cat(hessians)

    def kept(self, keep_q: Tensor) -> _PartialLikelihoods:
        return _PartialLikelihoods(self.x[keep_q], self._of(keep_q))

    def _of(self, own: slice | Tensor) -> _RiskSets:
        return _RiskSets(*(part[own] for part in self.sets))

    def _some(self) -> list[slice]:
        """Problems of which each holds n x n and n x nodes numbers, some at a time."""
        step = max(1, _NUMBERS // max(1, self.x.shape[1] ** 2))
        return [slice(start, start + step) for start in range(0, len(self.x), step)]

    def _eta(self, beta_qt: Tensor) -> Tensor:
        return (self.x @ beta_qt.unsqueeze(-1)).squeeze(-1)


def _derivatives(x: Tensor, eta: Tensor, sets: _RiskSets) -> tuple[Tensor, Tensor]:
    """Of the negative log partial likelihoods, by the coefficients of the features."""
    log_r, counts, share_qen = _against_later(eta, sets)
    slope, bend = log_probability_derivatives(log_r, sets.tied)
    told = (counts & (sets.event > 0)).double()
    slope, bend = slope * told, bend * told.unsqueeze(-1) * told.unsqueeze(-2)
    mean_qef = share_qen @ x
    apart = x - mean_qef
    weight = (share_qen.mT @ slope.unsqueeze(-1)).squeeze(-1)
    spread = x.mT @ (weight.unsqueeze(-1) * x) - mean_qef.mT @ (slope.unsqueeze(-1) * mean_qef)
    gradient = (apart.mT @ slope.unsqueeze(-1)).squeeze(-1)
    return -gradient, spread - apart.mT @ bend @ apart
