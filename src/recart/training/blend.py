"""Blending of ridge experts: each group at its own strength, weighed by its inner loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from recart.training.bag_scaling import BagScaling
from recart.training.endpoints.endpoint import Endpoint
from recart.training.heads import Array
from recart.training.null_residuals import null_residuals
from recart.training.ridge_experts import SCREENS, correlations, fit_expert

__all__ = ["Blend", "fit_blends"]

# Labels that are solved in one stack: enough to share the overhead, few enough for the cache.
_STACK: Final = 16
# Weights fall as relative loss to the power of bags / 4: a tempered posterior over the experts.
_TEMPER: Final = 0.25
# Least share of explained variance that an expert is credited with, so that some rank remains.
_LEAST: Final = 0.01
# Ridge of the one slope of the blend, whose unit is its SD; and the least slope, so that a blend
# that explains nothing ranks bags still.
_SLOPE_STRENGTH, _LEAST_SLOPE = 1.0, 0.05


@dataclass(frozen=True, kw_only=True)
class Blend:
    """One linear predictor on scaled features, and how it was chosen on inner folds.

    The linear predictor is `scaled @ coefficients - centre`; `offsets` (k) are what the endpoint
    adds to it. `inner_logits` (n) come from
    experts and a slope that did not see the bag; NaN where a bag is in no fold. `shares` are the
    weights of groups; they sum to 1. `strengths` are those of the heaviest expert of each group.
    """

    scaling: BagScaling
    coefficients: Tensor
    centre: float
    offsets: Tensor
    inner_log_loss: float
    inner_logits: list[float]
    shares: list[float]
    strengths: list[float]


def fit_blends(
    features: Tensor,
    groups_f: Tensor,
    shared: int,
    labels: Sequence[Tensor],
    folds: Sequence[Sequence[Array]],
    strengths: Tensor,
    endpoint: Endpoint,
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
    """
    scaling = BagScaling.fit(features, groups_f, shared)
    x_nf = scaling.apply(features)
    found: list[Blend] = []
    for start in range(0, len(labels), _STACK):
        part = slice(start, start + _STACK)
        found += _fit(x_nf, groups_f, scaling, labels[part], folds[part], strengths, endpoint)
    return found


def _fit(
    x_nf: Tensor,
    groups_f: Tensor,
    scaling: BagScaling,
    labels: Sequence[Tensor],
    folds: Sequence[Sequence[Array]],
    strengths: Tensor,
    endpoint: Endpoint,
) -> list[Blend]:
    y_pn = torch.nan_to_num(torch.stack(list(labels)).double())
    problem_pn, full_p, owner_q, weight_qn = _problems(folds, len(x_nf))
    residual_qn = null_residuals(y_pn[owner_q], weight_qn)
    target_pn, inside_pn = residual_qn[full_p], weight_qn[full_p]
    each_n, each_p = torch.arange(len(x_nf)), torch.arange(len(labels))
    worth_p = target_pn.square().sum(-1).clamp_min(1e-12)
    columns, experts, inner, losses, chosen = [], [], [], [], []
    for group in range(int(groups_f.max()) + 1):
        column = ((groups_f == group) & torch.isfinite(scaling.scale)).nonzero().squeeze(-1)
        if not len(column):
            continue
        own = x_nf[:, column]
        correlation_qf = correlations(own, residual_qn, weight_qn)
        for screen in SCREENS:
            expert = fit_expert(own, correlation_qf, residual_qn, weight_qn, screen, strengths)
            inner_psn = expert.scores_qsn[problem_pn, :, each_n].mT
            error = (inner_psn - target_pn.unsqueeze(1)) * inside_pn.unsqueeze(1)
            loss_ps = error.square().sum(-1) / worth_p.unsqueeze(-1)
            best_p = loss_ps.argmin(-1)
            columns.append((group, column))
            experts.append(expert)
            inner.append(inner_psn[each_p, best_p])
            losses.append(loss_ps[each_p, best_p])
            chosen.append(best_p)
    loss_ep = torch.stack(losses)
    bags_p = inside_pn.sum(-1)
    weight_ep = (1 - loss_ep).clamp_min(_LEAST) * torch.exp(
        -_TEMPER * bags_p * (loss_ep.log() - loss_ep.log().amin(0))
    )
    weight_ep = weight_ep / weight_ep.sum(0)
    score_pn = (weight_ep.unsqueeze(-1) * torch.stack(inner)).sum(0) * inside_pn
    blends = []
    for p, own_folds in enumerate(folds):
        slope, offsets, logits, loss = _slope(score_pn[p], y_pn[p], own_folds, endpoint)
        coefficients = torch.zeros(x_nf.shape[1], dtype=torch.float64)
        shares, strongest = [0.0] * (int(groups_f.max()) + 1), [0.0] * (int(groups_f.max()) + 1)
        heaviest = [0.0] * len(shares)
        for e, (group, column) in enumerate(columns):
            weight = float(weight_ep[e, p])
            shares[group] += weight
            if weight > heaviest[group]:
                heaviest[group], strongest[group] = weight, float(strengths[chosen[e][p]])
            own = experts[e].coefficients(int(full_p[p]), int(chosen[e][p]))
            coefficients[column] += slope * weight * own
        # scores are about the mean of the rows fitted to
        centre = float((x_nf.T @ inside_pn[p] / bags_p[p]) @ coefficients)
        blends.append(
            Blend(
                scaling=scaling,
                coefficients=coefficients,
                centre=centre,
                offsets=offsets,
                inner_log_loss=loss,
                inner_logits=logits,
                shares=shares,
                strengths=strongest,
            )
        )
    return blends


def _problems(
    folds: Sequence[Sequence[Array]], rows: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Every inner fold of every labelling, and each whole labelling after its folds.

    Returns the problem (p, n) that left each row out, the problem (p) of all rows, whose labels a
    problem (q) has, and its weights (q, n): 1 for rows that are fitted to.
    """
    weights, owners, whole = [], [], []
    problem_pn = torch.zeros(len(folds), rows, dtype=torch.long)
    for p, own in enumerate(folds):
        inside = torch.zeros(rows, dtype=torch.float64)
        inside[torch.from_numpy(np.concatenate(own))] = 1.0
        for test in own:
            left = torch.from_numpy(test)
            problem_pn[p, left] = len(weights)
            weights.append(inside.index_fill(0, left, 0.0))
            owners.append(p)
        whole.append(len(weights))
        weights.append(inside)
        owners.append(p)
    return problem_pn, torch.tensor(whole), torch.tensor(owners), torch.stack(weights)


def _slope(
    score_n: Tensor, y_n: Tensor, folds: Sequence[Array], endpoint: Endpoint
) -> tuple[float, Tensor, list[float], float]:
    """Slope and offsets of the endpoint on inner scores; logits and loss by slopes of other folds.

    Scores come from inner folds, so the slope is that of bags that no expert has seen.
    """
    _, _, _, train_qn = _problems([folds], len(score_n))
    inside = train_qn[-1] > 0
    unit = float(score_n[inside].std(unbiased=False).clamp_min(1e-12))
    count = len(train_qn)
    x_qnf = (score_n / unit).expand(count, -1).unsqueeze(-1)
    y_qn = y_n.expand(count, *y_n.shape)
    strength = torch.full((count, 1), _SLOPE_STRENGTH, dtype=torch.float64)
    coefficients, offsets = endpoint.solve(x_qnf, y_qn, train_qn, strength)
    slope_qs1 = coefficients[..., 0].clamp_min(_LEAST_SLOPE).unsqueeze(-1)
    linear = slope_qs1 * x_qnf.mT
    hidden = (~inside).reshape(-1, *[1] * (y_n.ndim - 1)).expand_as(y_n)
    seen = y_qn.masked_fill(hidden, torch.nan)
    loss_qsn = endpoint.losses(linear, offsets, seen, train_qn)
    logits_qsn = endpoint.log_odds(linear, offsets)
    logits = torch.full_like(score_n, torch.nan)
    total = 0.0
    for q, test in enumerate(folds):
        left = torch.from_numpy(test)
        logits[left] = logits_qsn[q, 0, left]
        total += float(loss_qsn[q, 0, left].sum())
    slope = float(slope_qs1[-1, 0, 0]) / unit
    return slope, offsets[-1, 0].clone(), logits.tolist(), total / int(inside.sum())
