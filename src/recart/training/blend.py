"""Blending of ridge experts: each group at its own strength, weighed by its inner error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor

from recart.training.bag_scaling import BagScaling
from recart.training.blend_slope import fit_slope
from recart.training.endpoints.endpoint import Endpoint
from recart.training.heads import Array
from recart.training.inner_problems import InnerProblems, inner_problems
from recart.training.null_residuals import null_residuals
from recart.training.ridge_experts import (
    PLAIN,
    SCREENS,
    Expert,
    Screen,
    correlations,
    fit_expert,
)

__all__ = ["Blend", "fit_blends"]

# Labellings that are solved in one stack: enough to share the overhead, few enough for the cache.
_STACK: Final = 8
# Weights fall as relative error to the power of 0.15 bags: a tempered posterior over the experts.
# Between 0.1 and 0.4 the AUROC of simulated cohorts moves by less than .01.
_TEMPER: Final = 0.15
# Least share of explained variance that an expert is credited with, so that some rank remains.
_LEAST: Final = 0.03
# Experts that the plain ridge on a simple group counts as, a priori: else a signal that a handful
# of numbers show is outvoted by all that describe cells in detail, with few patients (`_weights`).
_SIMPLE: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Blend:
    """One linear predictor on scaled features, and how it was chosen on inner folds.

    The linear predictor is `scaled @ coefficients - centre`; `offsets` (k) are what the endpoint
    adds to it. `inner_logits` (n) come from experts and weights that know no label of the bag's
    fold, and a slope fitted to the scores of the other folds, which are of experts that know it;
    NaN where a bag is in no fold. `shares` are the weights of groups; they sum to 1. `strengths`
    are those of the heaviest expert of each group.
    """

    scaling: BagScaling
    coefficients: Tensor
    centre: float
    offsets: Tensor
    inner_log_loss: float
    inner_logits: list[float]
    shares: list[float]
    strengths: list[float]


class _Group(NamedTuple):
    """Columns of a group that vary, its screens, and how many experts each counts as a priori."""

    columns: Tensor
    screens: Sequence[Screen]
    prior: float


class _Placed(NamedTuple):
    """An expert, and the number of its group."""

    group: int
    expert: Expert


def fit_blends(
    features: Tensor,
    groups_f: Tensor,
    shared: int,
    labels: Sequence[Tensor],
    folds: Sequence[Sequence[Array]],
    strengths: Tensor,
    endpoint: Endpoint,
    simple: int = 0,
) -> list[Blend]:
    """Fit every labelling of the same bags; each is what it is alone, to rounding.

    Parameters
    ----------
    features, groups_f
        (n, f) features of the bags, NaN where not measured, and the group of each. The first
        `shared` groups have one unit each, see `BagScaling`.
    labels
        Targets of the endpoint, (n, ...) each.
    folds
        Rows of the inner test folds of each of `labels`; rows in none take no part.
    strengths
        (s) ridge strengths to choose from, by squared error on inner folds.
    simple
        The first so many groups have few features: a plain ridge takes them whole.
    """
    scaling = BagScaling.fit(features, groups_f, shared)
    x_nf = scaling.apply(features)
    groups = [
        _Group(
            ((groups_f == group) & torch.isfinite(scaling.scale)).nonzero().squeeze(-1),
            *(((PLAIN,), _SIMPLE) if group < simple else (SCREENS, 1.0)),
        )
        for group in range(int(groups_f.max()) + 1)
    ]
    found: list[Blend] = []
    for start in range(0, len(labels), _STACK):
        part = slice(start, start + _STACK)
        found += _fit(x_nf, groups, scaling, labels[part], folds[part], strengths, endpoint)
    return found


def _fit(
    x_nf: Tensor,
    groups: Sequence[_Group],
    scaling: BagScaling,
    labels: Sequence[Tensor],
    folds: Sequence[Sequence[Array]],
    strengths: Tensor,
    endpoint: Endpoint,
) -> list[Blend]:
    y_pn = torch.nan_to_num(torch.stack(list(labels)).double())
    inner = inner_problems(folds, len(x_nf))
    residual_qn = null_residuals(y_pn[inner.labelling_q], inner.weight_qn)
    placed = _experts(x_nf, groups, residual_qn, inner.weight_qn, strengths)
    experts = [own.expert for own in placed]
    prior_e = torch.tensor([groups[own.group].prior for own in placed], dtype=torch.float64)
    middle = int(strengths.argsort()[len(strengths) // 2])
    best_epv, weight_epv = _weights(experts, prior_e, inner, residual_qn, middle)
    score_pn = _scores(experts, inner, best_epv, weight_epv)
    blends = []
    for p, own_folds in enumerate(folds):
        fitted = fit_slope(score_pn[p], y_pn[p], own_folds, endpoint)
        coefficients = torch.zeros(x_nf.shape[1], dtype=torch.float64)
        shares, heaviest, chosen = ([0.0] * len(groups) for _ in range(3))
        whole = int(inner.whole_pv[p, -1])
        for (group, expert), weight_pv, best_pv in zip(placed, weight_epv, best_epv, strict=True):
            weight, best = float(weight_pv[p, -1]), int(best_pv[p, -1])
            shares[group] += weight
            if weight > heaviest[group]:
                heaviest[group], chosen[group] = weight, float(strengths[best])
            own = fitted.slope * weight * expert.coefficients(whole, best)
            coefficients[groups[group].columns] += own
        # scores are about the mean of the bags fitted to
        inside = inner.weight_qn[whole]
        blends.append(
            Blend(
                scaling=scaling,
                coefficients=coefficients,
                centre=float((inside @ x_nf) @ coefficients / inside.sum()),
                offsets=fitted.offsets,
                inner_log_loss=fitted.inner_log_loss,
                inner_logits=fitted.inner_logits,
                shares=shares,
                strengths=chosen,
            )
        )
    return blends


def _experts(
    x_nf: Tensor,
    groups: Sequence[_Group],
    residual_qn: Tensor,
    weight_qn: Tensor,
    strengths: Tensor,
) -> list[_Placed]:
    """Every screen on every group of which a feature varies."""
    experts = []
    for number, group in enumerate(groups):
        if len(group.columns):
            own = x_nf[:, group.columns]
            correlation_qf = correlations(own, residual_qn, weight_qn)
            for screen in group.screens:
                fitted = fit_expert(own, correlation_qf, residual_qn, weight_qn, screen, strengths)
                experts.append(_Placed(number, fitted))
    return experts


def _weights(
    experts: Sequence[Expert],
    prior_e: Tensor,
    inner: InnerProblems,
    residual_qn: Tensor,
    middle: int,
) -> tuple[Tensor, Tensor]:
    """Best strength and weight (e, p, v) of every expert, by its error in what a view knows.

    Of two folds a view knows one, and could only be judged by experts that know the other, whose
    labels must choose nothing that is said of it. So two folds choose nothing: every expert has
    the `middle` strength and its prior weight, in the view of all bags too, whose slope is fitted
    to scores made so.
    """
    target_pvn, known_pvn = residual_qn[inner.whole_pv], inner.weight_qn[inner.whole_pv]
    each_n = torch.arange(target_pvn.shape[-1])
    worth_pv = target_pvn.square().sum(-1).clamp_min(1e-12)
    losses, best = [], []
    for expert in experts:
        error_pvns = expert.scores_qsn[inner.judge_pvn, :, each_n] - target_pvn.unsqueeze(-1)
        error_pvs = (error_pvns.square() * known_pvn.unsqueeze(-1)).sum(2)
        loss_pv, best_pv = (error_pvs / worth_pv.unsqueeze(-1)).min(-1)
        losses.append(loss_pv.clamp_min(1e-12))
        best.append(torch.where(inner.nested_p.unsqueeze(-1), best_pv, middle))
    loss_epv = torch.stack(losses)
    log_epv = loss_epv.log()
    weight_epv = (1 - loss_epv).clamp_min(_LEAST) * prior_e[:, None, None]
    weight_epv = weight_epv * torch.exp(-_TEMPER * known_pvn.sum(-1) * (log_epv - log_epv.amin(0)))
    prior_epv = prior_e[:, None, None].expand_as(weight_epv)
    weight_epv = torch.where(inner.nested_p.unsqueeze(-1), weight_epv, prior_epv)
    return torch.stack(best), weight_epv / weight_epv.sum(0)


def _scores(
    experts: Sequence[Expert], inner: InnerProblems, best_epv: Tensor, weight_epv: Tensor
) -> Tensor:
    """(p, n) blended score of each bag by experts and weights that know nothing of its fold."""
    without_pn = inner.whole_pv.gather(1, inner.fold_pn)
    each_n = torch.arange(inner.fold_pn.shape[1])
    score_pn = torch.zeros(inner.fold_pn.shape, dtype=torch.float64)
    for expert, best_pv, weight_pv in zip(experts, best_epv, weight_epv, strict=True):
        best_pn, weight_pn = best_pv.gather(1, inner.fold_pn), weight_pv.gather(1, inner.fold_pn)
        score_pn += weight_pn * expert.scores_qsn[without_pn, best_pn, each_n]
    return score_pn * inner.weight_qn[inner.whole_pv[:, -1]]
