"""Events at one time, in every order in which they can have happened: likelihood and derivatives.

Let r_i be the hazard of tied event i over the summed hazards of those who are still at risk after
it. That all tied events come before anything else has the probability `int_0^inf prod_i
(1 - exp(-r_i s)) exp(-s) ds` (DeLong, Guirguis & So, Biometrika 1994, 81), the mean over all orders
(Kalbfleisch & Prentice, Biometrika 1973, 60). Its logarithm is concave in the log hazards: it is
the probability of a convex set under independent log-concave noise.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = ["log_probability", "log_probability_derivatives"]

# steps of t in s = exp(top + width sinh(t)), about the top of what is summed; it is analytic in t
# and falls off at both ends, so that few equal steps do: to 1e-7 where few are tied, to 1e-3 where
# 200 are whose hazards are thirty times that of all others (tests/models/test_exact_ties.py)
_STEP: Final = 0.2
_T: Final = torch.arange(-4.2, 4.3, _STEP, dtype=torch.float64)
_SINH, _LOG_COSH = torch.sinh(_T), torch.log(_STEP * torch.cosh(_T))
_NEWTON: Final = 8  # steps to the top; it need not be met to the digit
_LEAST: Final = 1e-300


def log_probability(log_r_qn: Tensor, tied_qnn: Tensor) -> Tensor:
    """(q, n) log probability of each event's group, divided evenly among its events.

    Parameters
    ----------
    log_r_qn
        Log of r of each row; any number where a row is no event.
    tied_qnn
        1 where both rows are events of one time, a row's own place among them; else 0.
    """
    told = logsigmoid(log_r_qn)
    rows = _several(tied_qnn)
    if not rows.shape[1]:
        return told
    log_r, tied = log_r_qn.gather(1, rows), _of_rows(tied_qnn, rows)
    size = tied.sum(-1)
    log_p, _ = _inside(log_r, tied)
    of_group = torch.logsumexp(log_p, dim=-1) / size.clamp_min(1.0)
    return told.scatter(1, rows, torch.where(size > 1, of_group, told.gather(1, rows)))


def log_probability_derivatives(log_r_qn: Tensor, tied_qnn: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient (q, n) and Hessian (q, n, n) of the sum over groups, by `log_r_qn`."""
    gradient = torch.sigmoid(-log_r_qn)
    hessian = torch.diag_embed(-gradient * torch.sigmoid(log_r_qn))
    rows = _several(tied_qnn)
    if not rows.shape[1]:
        return gradient, hessian
    log_r, tied = log_r_qn.gather(1, rows), _of_rows(tied_qnn, rows)
    several = tied.sum(-1) > 1
    log_p, u = _inside(log_r, tied)
    p_qmk = torch.softmax(log_p, dim=-1)
    slope = u / torch.expm1(u)  # of log(1 - exp(-u)), by log u
    own = (p_qmk * slope).sum(-1)
    bend = (p_qmk * slope * (1 - u - slope)).sum(-1)
    both = tied * ((p_qmk * slope) @ slope.mT - own.unsqueeze(-1) * own.unsqueeze(-2))
    both = both + torch.diag_embed(bend)
    own = torch.where(several, own, gradient.gather(1, rows))
    both = torch.where(several.unsqueeze(-1), both, _of_rows(hessian, rows))
    each = torch.arange(len(rows))[:, None, None]
    hessian[each, rows.unsqueeze(-1), rows.unsqueeze(-2)] = both
    return gradient.scatter(1, rows, own), hessian


def _several(tied_qnn: Tensor) -> Tensor:
    """(q, m) rows that are tied with another, and others up to the most that a problem has."""
    several = tied_qnn.sum(-1) > 1
    most = int(several.sum(-1).max())
    return several.int().argsort(dim=-1, descending=True, stable=True)[:, :most]


def _of_rows(square_qnn: Tensor, rows_qm: Tensor) -> Tensor:
    each = torch.arange(len(rows_qm))[:, None, None]
    return square_qnn[each, rows_qm.unsqueeze(-1), rows_qm.unsqueeze(-2)]


def _inside(log_r_qm: Tensor, tied_qmm: Tensor) -> tuple[Tensor, Tensor]:
    """(q, m, k) log of what is summed for each row's group, and `r s` of the row."""
    top, width = _top(log_r_qm.detach(), tied_qmm)
    log_s = top.unsqueeze(-1) + width.unsqueeze(-1) * _SINH
    u = torch.exp(log_r_qm.unsqueeze(-1) + log_s).clamp_min(_LEAST)
    density = log_s - torch.exp(log_s) + torch.log(width).unsqueeze(-1) + _LOG_COSH
    return tied_qmm @ torch.log(-torch.expm1(-u)) + density, u


def _top(log_r_qm: Tensor, tied_qmm: Tensor) -> tuple[Tensor, Tensor]:
    """(q, m) where log s makes the most of each row's group, and how wide that is about it.

    There s is 1 plus a slope between 0 and 1 for each event.
    """
    most = torch.log1p(tied_qmm.sum(-1))
    log_s = most
    for _ in range(_NEWTON):
        slope, bend = _slopes(log_r_qm, log_s, tied_qmm)
        log_s = (log_s + slope / bend).clamp_min(0.0).minimum(most)
    return log_s, _slopes(log_r_qm, log_s, tied_qmm)[1].rsqrt()


def _slopes(log_r: Tensor, log_s: Tensor, tied: Tensor) -> tuple[Tensor, Tensor]:
    """Of the log of what is summed, by log s: its slope, and minus its second derivative."""
    u = torch.exp(log_r + log_s).clamp_min(_LEAST)
    own = u / torch.expm1(u)
    slope, bend = ((tied @ part.unsqueeze(-1)).squeeze(-1) for part in (own, own * (u + own - 1)))
    s = torch.exp(log_s)
    return 1 - s + slope, s + bend
