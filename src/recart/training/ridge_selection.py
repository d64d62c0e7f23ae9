"""Ridge regression with its strength chosen on inner folds, for many members at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recart.training.endpoints.binary import BinaryEndpoint
from recart.training.endpoints.endpoint import Endpoint
from recart.training.feature_scaling import FeatureScaling
from recart.training.heads import Array

__all__ = ["Ridge", "fit_ridges", "inner_folds"]

# Members solved in one stack: enough to share the overhead, few enough to stay in the cache.
_STACK = 16


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """One member's regression on scaled features, and how its strength was chosen.

    `inner_log_losses` has one value a strength; `inner_logits` (n) are those of the chosen one,
    each from the fold that did not see the bag, NaN where a bag is in no fold. `offsets` (k) are
    what the endpoint adds to the linear predictor.
    """

    scaling: FeatureScaling
    coefficients: Tensor
    offsets: Tensor
    strength: float
    inner_log_losses: list[float]
    inner_logits: list[float]

    @property
    def intercept(self) -> float:
        """The first offset: the intercept of a logistic regression."""
        return float(self.offsets[0])


def inner_folds(
    labels: Array, patients: Array, folds: int, seed: int, grade: Array | None = None
) -> list[Array]:
    """Test rows of each inner fold, stratified by label and then by grade; patients stay whole.

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
    keys = (turn, bags, share) if grade is None else (turn, bags, _mean(grade, owner), share)
    order = np.lexsort(keys)
    fold = np.empty(len(owners), dtype=np.int64)
    k = min(folds, smaller)
    fold[order] = np.arange(len(owners)) % k
    return [np.flatnonzero(fold[owner] == number) for number in range(k)]


def _mean(value: Array, owner: Array) -> Array:
    mean: Array = np.bincount(owner, value) / np.bincount(owner)
    return mean


def fit_ridges(
    features: Sequence[Tensor],
    groups: Sequence[Tensor],
    labels: Sequence[Tensor],
    folds: Sequence[Sequence[Array]],
    strengths: Tensor,
    endpoint: Endpoint | None = None,
) -> list[Ridge]:
    """Choose each member's strength by inner log loss, refit it on all its bags.

    Folds, strengths and members are one stack of problems. Scaling is part of a fold's fit.

    Parameters
    ----------
    features, groups
        (n, f) bag features of each member, NaN where not measured, and their groups (f).
    labels
        (n) of each member, 0 or 1; or the targets of `endpoint`, (n, ...).
    folds
        Rows of each member's inner test folds; rows in none take no part.
    strengths
        (s) ridge strengths to choose from.
    endpoint
        What is fitted, and by which loss the strength is chosen; None: response or none.
    """
    endpoint = endpoint or BinaryEndpoint()
    alike: dict[tuple[int, ...], list[int]] = {}
    for member, own in enumerate(groups):
        alike.setdefault(tuple(torch.bincount(own).tolist()), []).append(member)
    fitted: dict[int, Ridge] = {}
    for members in alike.values():
        for start in range(0, len(members), _STACK):
            some = members[start : start + _STACK]
            x_mnf = _padded([features[m] for m in some], torch.nan)
            y_mn = _padded([labels[m] for m in some], 0.0)
            ridges = _fit(
                x_mnf,
                groups[some[0]],
                y_mn,
                [folds[m] for m in some],
                [len(features[m]) for m in some],
                strengths,
                endpoint,
            )
            fitted |= dict(zip(some, ridges, strict=True))
    return [fitted[member] for member in range(len(features))]


def _padded(parts: Sequence[Tensor], value: float) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True, padding_value=value)


def _fit(
    x_mnf: Tensor,
    groups_f: Tensor,
    y_mn: Tensor,
    folds: Sequence[Sequence[Array]],
    sizes: Sequence[int],
    strengths: Tensor,
    endpoint: Endpoint,
) -> list[Ridge]:
    """One stack of members; rows beyond a member's bags are in none of its folds."""
    problems = [(m, test) for m, own in enumerate(folds) for test in own]
    member_q = torch.tensor([m for m, _ in problems])
    test_qn = torch.zeros(len(problems), x_mnf.shape[1], dtype=torch.bool)
    for q, (_, test) in enumerate(problems):
        test_qn[q, torch.from_numpy(test)] = True
    bag_mn = (
        torch.zeros(y_mn.shape[:2], dtype=torch.long).index_add_(0, member_q, test_qn.long()) > 0
    )
    train_qn = (bag_mn[member_q] & ~test_qn).double()

    x_qnf = x_mnf[member_q]
    x_qnf = FeatureScaling.fit(x_qnf, groups_f, train_qn).apply(x_qnf)
    y_qn = y_mn[member_q]
    coefficients_qsf, offsets_qsk = endpoint.solve(
        x_qnf, y_qn, train_qn, strengths.expand(len(problems), -1)
    )
    linear_qsn = coefficients_qsf @ x_qnf.mT
    logits_qsn = endpoint.log_odds(linear_qsn, offsets_qsk)
    logits_msn = torch.zeros(len(folds), len(strengths), x_mnf.shape[1], dtype=logits_qsn.dtype)
    logits_msn.index_add_(0, member_q, torch.where(test_qn.unsqueeze(1), logits_qsn, 0.0))
    # rows in no fold are hidden from the endpoint
    hidden_qn = ~bag_mn[member_q]
    seen_qn = y_qn.double().masked_fill(
        hidden_qn.reshape(*hidden_qn.shape, *[1] * (y_qn.ndim - 2)), torch.nan
    )
    loss_qsn = endpoint.losses(linear_qsn, offsets_qsk, seen_qn, train_qn)
    loss_msn = torch.zeros_like(logits_msn)
    loss_msn.index_add_(0, member_q, torch.where(test_qn.unsqueeze(1), loss_qsn, 0.0))
    bags_m = bag_mn.sum(-1)
    loss_ms = torch.where(bag_mn.unsqueeze(1), loss_msn, 0.0).sum(-1) / bags_m.unsqueeze(-1)
    best_m = loss_ms.argmin(-1)

    weight_mn = bag_mn.double()
    scaling = FeatureScaling.fit(x_mnf, groups_f, weight_mn)
    coefficients, offsets = endpoint.solve(
        scaling.apply(x_mnf), y_mn, weight_mn, strengths[best_m].unsqueeze(-1)
    )
    chosen_mn = logits_msn[torch.arange(len(folds)), best_m]
    inner_mn = torch.where(bag_mn, chosen_mn, torch.nan)
    return [
        Ridge(
            scaling=scaling.of(m),
            coefficients=coefficients[m, 0].clone(),
            offsets=offsets[m, 0].clone(),
            strength=float(strengths[best_m[m]]),
            inner_log_losses=loss_ms[m].tolist(),
            inner_logits=inner_mn[m, : sizes[m]].tolist(),
        )
        for m in range(len(folds))
    ]
