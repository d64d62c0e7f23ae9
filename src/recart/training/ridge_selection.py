"""Ridge logistic regression with its strength chosen on inner folds, for many members at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recart.models.ridge_logistic import fit_ridge_logistic
from recart.training.feature_scaling import FeatureScaling
from recart.training.heads import Array

__all__ = ["Ridge", "fit_ridges", "inner_folds"]

# Members solved in one stack: enough to share the overhead, few enough to stay in the cache.
_STACK = 16


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """One member's regression on scaled features, and how its strength was chosen.

    `inner_log_losses` has one value a strength; `inner_logits` (n) are those of the chosen one,
    each from the fold that did not see the bag.
    """

    scaling: FeatureScaling
    coefficients: Tensor
    intercept: float
    strength: float
    inner_log_losses: list[float]
    inner_logits: list[float]


def inner_folds(labels: Array, patients: Array, folds: int, seed: int) -> list[Array]:
    """Test rows of each inner fold, stratified by label; patients stay whole.

    Raises
    ------
    ValueError
        If a class has fewer than two patients.
    """
    owners, owner = np.unique(patients, return_inverse=True)
    bags = np.bincount(owner)
    share = np.bincount(owner, labels) / bags
    smaller = int(min((share < 1).sum(), (share > 0).sum()))
    if smaller < 2:
        raise ValueError(
            f"inner folds need two patients of each class among the development patients, "
            f"the smaller class has {smaller}; use fewer outer folds (data.folds.k)"
        )
    # dealt in turn, sorted by label and then by number of bags, else in random order
    turn = np.random.default_rng(seed).permutation(len(owners))
    order = np.lexsort((turn, bags, share))
    fold = np.empty(len(owners), dtype=np.int64)
    k = min(folds, smaller)
    fold[order] = np.arange(len(owners)) % k
    return [np.flatnonzero(fold[owner] == number) for number in range(k)]


def fit_ridges(
    features: Sequence[Tensor],
    groups: Sequence[Tensor],
    labels: Sequence[Tensor],
    folds: Sequence[Sequence[Array]],
    strengths: Tensor,
) -> list[Ridge]:
    """Choose each member's strength by inner log loss, refit it on all its bags.

    Folds, strengths and members are one stack of problems. Scaling is part of a fold's fit.

    Parameters
    ----------
    features, groups
        (n, f) bag features of each member, NaN where not measured, and their groups (f).
    labels
        (n) of each member, 0 or 1.
    folds
        Rows of each member's inner test folds; together they are all its rows.
    strengths
        (s) ridge strengths to choose from.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    for member, own in enumerate(groups):
        alike.setdefault(tuple(torch.bincount(own).tolist()), []).append(member)
    fitted: dict[int, Ridge] = {}
    for members in alike.values():
        for start in range(0, len(members), _STACK):
            some = members[start : start + _STACK]
            x_mnf = _padded([features[m] for m in some], torch.nan)
            y_mn = _padded([labels[m] for m in some], 0.0)
            ridges = _fit(x_mnf, groups[some[0]], y_mn, [folds[m] for m in some], strengths)
            fitted |= dict(zip(some, ridges, strict=True))
    return [fitted[member] for member in range(len(features))]


def _padded(parts: Sequence[Tensor], value: float) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True, padding_value=value)


def _fit(
    x_mnf: Tensor,
    groups_f: Tensor,
    y_mn: Tensor,
    folds: Sequence[Sequence[Array]],
    strengths: Tensor,
) -> list[Ridge]:
    """One stack of members; rows beyond a member's bags are in none of its folds."""
    problems = [(m, test) for m, own in enumerate(folds) for test in own]
    member_q = torch.tensor([m for m, _ in problems])
    test_qn = torch.zeros(len(problems), x_mnf.shape[1], dtype=torch.bool)
    for q, (_, test) in enumerate(problems):
        test_qn[q, torch.from_numpy(test)] = True
    bag_mn = torch.zeros(y_mn.shape, dtype=torch.long).index_add_(0, member_q, test_qn.long()) > 0
    train_qn = (bag_mn[member_q] & ~test_qn).double()

    x_qnf = x_mnf[member_q]
    x_qnf = FeatureScaling.fit(x_qnf, groups_f, train_qn).apply(x_qnf)
    coefficients_qsf, intercept_qs = fit_ridge_logistic(
        x_qnf, y_mn[member_q], train_qn, strengths.expand(len(problems), -1)
    )
    logits_qsn = coefficients_qsf @ x_qnf.mT + intercept_qs.unsqueeze(-1)
    logits_msn = torch.zeros(len(folds), len(strengths), x_mnf.shape[1], dtype=logits_qsn.dtype)
    logits_msn.index_add_(0, member_q, torch.where(test_qn.unsqueeze(1), logits_qsn, 0.0))
    loss_msn = torch.nn.functional.binary_cross_entropy_with_logits(
        logits_msn, y_mn.unsqueeze(1).expand_as(logits_msn), reduction="none"
    )
    bags_m = bag_mn.sum(-1)
    loss_ms = torch.where(bag_mn.unsqueeze(1), loss_msn, 0.0).sum(-1) / bags_m.unsqueeze(-1)
    best_m = loss_ms.argmin(-1)

    weight_mn = bag_mn.double()
    scaling = FeatureScaling.fit(x_mnf, groups_f, weight_mn)
    coefficients, intercepts = fit_ridge_logistic(
        scaling.apply(x_mnf), y_mn, weight_mn, strengths[best_m].unsqueeze(-1)
    )
    return [
        Ridge(
            scaling=scaling.of(m),
            coefficients=coefficients[m, 0].clone(),
            intercept=float(intercepts[m, 0]),
            strength=float(strengths[best_m[m]]),
            inner_log_losses=loss_ms[m].tolist(),
            inner_logits=logits_msn[m, best_m[m], : int(bags_m[m])].tolist(),
        )
        for m in range(len(folds))
    ]
