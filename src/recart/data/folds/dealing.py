"""Dealing patients, or whole blocks of them, into folds that are balanced by class."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from recart.data.folds.blocks import Codes
from recart.data.folds.strata import STRATA, class_counts

__all__ = ["deal", "deal_blocks"]

Costs = np.ndarray[Any, np.dtype[np.float64]]

_ATTEMPTS: Final = 8
# a fold without one of the classes is worse than any lack of balance
_LACKING: Final = 1e6


def deal(stratum: Codes, k: int, rng: np.random.Generator, grade: Codes | None = None) -> Codes:
    """Fold of each patient: shuffled within strata, then dealt out like cards.

    Dealing in the order (1 only, both, 0 only) gives every fold a bag of each class as soon as k
    patients have one: those patients are neighbours in the deal. (scikit-learn deals in the same
    way, but refuses strata smaller than k, which mixed patients often are.) Inside a stratum
    patients are dealt by rising `grade`, so that folds are even in it too.
    """
    order = np.concatenate([rng.permutation(np.flatnonzero(stratum == s)) for s in STRATA])
    if grade is not None:
        order = order[np.lexsort((grade[order], stratum[order]))]
    fold_of = np.empty(len(stratum), dtype=np.int64)
    fold_of[order] = np.arange(len(stratum)) % k
    return fold_of


def deal_blocks(
    stratum: Codes,
    block: Codes,
    k: int,
    rng: np.random.Generator,
    grade: Codes | None = None,
) -> Codes:
    """Fold of each patient where whole blocks are dealt; `deal` where each is a block of its own.

    Largest blocks first, each into the fold where the classes come out most even, then blocks are
    moved while that helps. The best of some shuffles is taken: as even as blocks allow, or nearly;
    they are not made even in `grade`.
    """
    if int(block.max()) + 1 == len(block):
        return deal(stratum, k, rng, grade)
    counts_bc = class_counts(stratum, block)
    best, least = np.zeros(len(counts_bc), dtype=np.int64), np.inf
    for _ in range(_ATTEMPTS):
        fold_of = _settle(_greedy(counts_bc, k, rng), counts_bc, k)
        cost = float(_cost(_loads(fold_of, counts_bc, k)))
        if cost < least:
            best, least = fold_of, cost
        if np.ptp(_loads(best, counts_bc, k), axis=0).max() <= 1:
            break
    dealt: Codes = best[block]
    return dealt


def _greedy(counts_bc: Codes, k: int, rng: np.random.Generator) -> Codes:
    shuffled = rng.permutation(len(counts_bc))
    order = shuffled[np.argsort(-counts_bc[shuffled].sum(1), kind="stable")]
    fold_of = np.empty(len(counts_bc), dtype=np.int64)
    load_kc = np.zeros((k, 2), dtype=np.int64)
    weight_c = 1 / np.maximum(counts_bc.sum(0), 1) ** 2  # the smaller class is the dearer one
    for b in order:
        dearer = ((2 * load_kc * counts_bc[b] + counts_bc[b] ** 2) * weight_c).sum(1)
        fold_of[b] = rng.choice(np.flatnonzero(dearer <= dearer.min() * (1 + 1e-9)))
        load_kc[fold_of[b]] += counts_bc[b]
    return fold_of


def _settle(fold_of: Codes, counts_bc: Codes, k: int) -> Codes:
    """Move single blocks to other folds while the cost falls."""
    load_kc, moved = _loads(fold_of, counts_bc, k), True
    while moved:
        moved = False
        for b, own in enumerate(counts_bc):
            load_kc[fold_of[b]] -= own
            # as many trials as folds, each with the block in another one
            cost_k = _cost(load_kc + np.eye(k, dtype=np.int64)[:, :, None] * own)
            best = int(cost_k.argmin())
            if cost_k[best] < cost_k[fold_of[b]] - 1e-12:
                fold_of[b], moved = best, True
            load_kc[fold_of[b]] += own
    return fold_of


def _loads(fold_of: Codes, counts_bc: Codes, k: int) -> Codes:
    """(k, 2) patients of each fold that have a bag of label 1, and of label 0."""
    loads = np.zeros((k, 2), dtype=np.int64)
    np.add.at(loads, fold_of, counts_bc)
    return loads


def _cost(load_kc: Codes) -> Costs:
    """Unevenness of the classes over folds, of one deal or of many."""
    relative = load_kc / np.maximum(load_kc.sum(-2, keepdims=True), 1)
    cost: Costs = np.square(relative).sum((-2, -1)) + _LACKING * (load_kc == 0).sum((-2, -1))
    return cost
