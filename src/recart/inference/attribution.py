"""What each cell adds to its patient's score.

The default head reads a patient through sums over cells: cells on each prototype, and their latents
and markers. Let the patient grow from a trace of itself to its whole, all cells in step; what each
cell adds on the way is its contribution (Aumann and Shapley's value). So contributions sum to the
score, less that of the same patient with no more than a trace of cells: even shares of states,
usual means, its own clones and covariates, which are the patient's and not a cell's.

Heads without such sums are told by deletion: cells are dealt into groups by their latents, and a
group's cells share alike what the score loses without it. These do not sum to anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from recart.inference.score_parts import score_parts
from recart.training.bag_sums import BagSums, bag_cells
from recart.training.decision_rule import DecisionRule
from recart.training.heads import BagLatents, FittedHead
from recart.training.prototype_features import CellSums
from recart.training.prototype_head import FittedPrototypeHead

__all__ = ["CellAttribution", "attribute_cells"]

Floats = np.ndarray[Any, np.dtype[np.float64]]

_TRACE: Final = 1e-6  # of a patient's cells, from where it grows
_STEPS: Final = 96  # on the way, even in the logarithm of what has grown
_GROUPS: Final = 32  # of cells that are taken away together


@dataclass(frozen=True, kw_only=True)
class CellAttribution:
    """Contributions of the cells of one bag to one member's score.

    Attributes
    ----------
    contributions
        (c) in log-odds, calibrated; of a survival endpoint in log hazard.
    base
        Score of the patient with a trace of its cells: contributions and base sum to the score of
        what was attributed. NaN where told by deletion.
    rest
        Part of the score that no cell was given: an attention residual.
    method
        `growth`, as above, or `deletion`.
    """

    contributions: Floats
    base: float
    rest: float
    method: str


def attribute_cells(
    head: FittedHead, rule: DecisionRule, bags: BagLatents, n: int
) -> CellAttribution:
    """Attribute the score of bag `n` to its cells, in their order.

    Parameters
    ----------
    head, rule
        The member's head and its calibration.
    bags, n
        Bags as the member sees them, and which of them.
    """
    parts, bag = score_parts(head), _only(bags, n)
    if parts.others:
        raw = _by_deletion(head, bag)
    else:
        grown = [(_by_growth(own, bag), weight) for own, weight in parts.linear]
        raw = CellAttribution(
            contributions=np.sum([w * own.contributions for own, w in grown], axis=0),
            base=sum(w * own.base for own, w in grown),
            rest=float(parts.rest(bag)[0]),
            method="growth",
        )
    if parts.hazard:
        return raw
    return replace(
        raw,
        contributions=rule.slope * raw.contributions,
        base=rule.intercept + rule.slope * raw.base,
        rest=rule.slope * raw.rest,
    )


def _by_growth(head: FittedPrototypeHead, bag: BagLatents) -> CellAttribution:
    whole = head.features.sums(bag)
    cells = len(bag.latents[0])
    # t grows from a trace to 1; u, its logarithm, in even steps. A bag of few cells, and what half
    # a cell is added to, change while t is small.
    ends = np.linspace(np.log(_TRACE), 0.0, _STEPS + 1)
    t_j = torch.from_numpy(np.exp((ends[1:] + ends[:-1]) / 2))
    step_j = torch.from_numpy(np.diff(np.exp(ends)))
    slope = _gradients(head, _scaled(whole, t_j), bag, step_j)
    base, score = (
        float(_score(head, _scaled(whole, torch.tensor([t], dtype=torch.float64)), bag)[0])
        for t in (_TRACE, 1.0)
    )
    given = _of_cells(head, slope, bag)
    # what the steps leave over or out, all cells share
    given += (score - base - given.sum()) / max(cells, 1)
    return CellAttribution(contributions=given, base=base, rest=0.0, method="growth")


def _scaled(sums: CellSums, t_j: Tensor) -> CellSums:
    """The one bag of `sums` at each of its sizes (j), as so many bags."""

    def at(whole: Tensor) -> Tensor:
        return whole * t_j.view(-1, *(1,) * (whole.dim() - 1))

    coarse = sums.coarse
    return CellSums(
        coarse=BagSums(
            mass=at(coarse.mass),
            sums=at(coarse.sums),
            counts=at(coarse.counts),
            cells=coarse.cells.expand(len(t_j), -1),
        ),
        fine=tuple(map(at, sums.fine)),
        car=at(sums.car),
    )


def _score(head: FittedPrototypeHead, sums: CellSums, bag: BagLatents) -> Tensor:
    """(j) linear predictor, or log-odds, of a patient at each size."""
    sizes = len(sums.coarse.mass)
    same = replace(
        bag, extras=np.repeat(bag.extras, sizes, axis=0), latents=[bag.latents[0]] * sizes
    )
    features = head.features.of_sums(sums, same).values
    scaling = head.scaling
    scaled = (features.clamp(scaling.low, scaling.high) - scaling.mean) / scaling.scale
    known = torch.where(torch.isfinite(scaled), scaled, 0.0)
    linear = known @ head.coefficients - head.centre
    if head.endpoint.kind == "survival":
        return linear
    return head.endpoint.log_odds(linear, head.offsets)


def _gradients(
    head: FittedPrototypeHead, sums: CellSums, bag: BagLatents, step_j: Tensor
) -> CellSums:
    """What one more of everything that is summed adds to the score, over the whole growth."""
    leaves = [sums.coarse.mass, sums.coarse.sums, sums.coarse.counts, *sums.fine, sums.car]
    leaves = [own.detach().clone().requires_grad_() for own in leaves]
    mass, of_values, counts, *fine, car = leaves
    coarse = BagSums(mass=mass, sums=of_values, counts=counts, cells=sums.coarse.cells)
    score = _score(head, CellSums(coarse=coarse, fine=tuple(fine), car=car), bag)
    found = torch.autograd.grad((score * step_j).sum(), leaves, allow_unused=True)
    # a feature that was not measured is NaN on the way to its 0
    total = [
        torch.zeros_like(leaf[0]) if own is None else own.nan_to_num(nan=0.0).sum(0)
        for own, leaf in zip(found, leaves, strict=True)
    ]
    coarse = BagSums(mass=total[0], sums=total[1], counts=total[2], cells=sums.coarse.cells[0])
    return CellSums(coarse=coarse, fine=tuple(total[3:-1]), car=total[-1])


def _of_cells(head: FittedPrototypeHead, slope: CellSums, bag: BagLatents) -> Floats:
    """(c) what each cell adds, by what it adds to every sum."""
    own = head.features
    cells = bag_cells(own.prototypes[0], own.view, bag, 0, own.slots, own.marker_names)
    given = torch.zeros(len(cells.weight_ck), dtype=torch.float64)
    for slot, rows in enumerate(cells.rows):
        per_ck = slope.coarse.mass[slot] + cells.x_cf[rows] @ slope.coarse.sums[slot].T
        per_ck = per_ck + cells.measured_cf[rows].double() @ slope.coarse.counts[slot].T
        given[rows] += (cells.weight_ck[rows] * per_ck).sum(1)
    view_cd = own.view.of(bag, 0)
    for prototypes, slope_k in zip(own.prototypes[1:], slope.fine, strict=True):
        given += prototypes.assign(view_cd) @ slope_k
    positive = np.array([token.car == "+" for token in bag.tokens], dtype=np.bool_)
    for pooled, (of_positive, of_all) in zip(own.car_slots, slope.car, strict=True):
        within = np.array([bool(t.car) and pooled.holds(t) for t in bag.tokens], dtype=np.bool_)
        if len(bag.token_of_cell):
            token = bag.token_of_cell[0]
            given += torch.from_numpy((positive & within)[token]) * of_positive
            given += torch.from_numpy(within[token]) * of_all
    values: Floats = given.numpy()
    return values


def _by_deletion(head: FittedHead, bag: BagLatents) -> CellAttribution:
    cells = len(bag.latents[0])
    whole = float(head.logits(bag)[0])
    given = np.zeros(cells)
    group = _groups(bag.latents[0])
    for number in np.unique(group):
        kept = np.flatnonzero(group != number)
        if len(kept):
            lost = whole - float(head.logits(bag.with_cells([kept]))[0])
            given[group == number] = lost / int((group == number).sum())
    return CellAttribution(contributions=given, base=float("nan"), rest=0.0, method="deletion")


def _groups(z_cl: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(c) group of each cell, of cells alike; the same whatever order they come in."""
    from sklearn.cluster import KMeans

    order = np.lexsort(z_cl.T)
    number = min(_GROUPS, len(np.unique(z_cl, axis=0)))
    labels = np.empty(len(z_cl), dtype=np.int64)
    labels[order] = KMeans(number, n_init=1, random_state=0).fit_predict(z_cl[order])
    return labels


def _only(bags: BagLatents, n: int) -> BagLatents:
    """Bag `n` alone."""
    return replace(
        bags,
        latents=[bags.latents[n]],
        extras=bags.extras[n : n + 1],
        patients=bags.patients[n : n + 1],
        token_of_cell=[bags.token_of_cell[n]] if len(bags.token_of_cell) else (),
        markers=[bags.markers[n]] if len(bags.markers) else (),
    )
