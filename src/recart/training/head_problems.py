"""Inner folds of the members' development bags, as problems that are fitted in one stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from recart.training.heads import Array, BagLatents
from recart.training.inner_folds import inner_folds

__all__ = [
    "HeadProblem",
    "chosen_elsewhere",
    "head_problems",
    "log_losses",
    "require_binary",
    "rows_of",
    "with_enough",
]


class HeadProblem(NamedTuple):
    """Rows of a member's development bags that a head is fitted to, and those it is tested on.

    The last problem of a member is fitted to all of them and has no test rows.
    """

    member: int
    train: Array
    test: Array


def head_problems(
    bags: Sequence[BagLatents], labels: Sequence[Array], seeds: Sequence[int], folds: int
) -> list[HeadProblem]:
    """The inner folds of every member, and the fit to all its bags."""
    problems = []
    for member, (own, y, seed) in enumerate(zip(bags, labels, seeds, strict=True)):
        require_binary(y)
        every = np.arange(len(y))
        for test in inner_folds(y, own.patients, folds, seed):
            problems.append(HeadProblem(member, np.setdiff1d(every, test), test))
        problems.append(HeadProblem(member, every, every[:0]))
    return problems


def require_binary(labels: Array) -> None:
    """Refuse labels that are not 0 or 1.

    Raises
    ------
    ValueError
        If there are others.
    """
    if labels.ndim != 1 or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            "this head predicts a binary endpoint (labels 0 and 1), the labels are others; "
            "choose head=prototypes, or a binary endpoint"
        )


def with_enough(
    problems: Sequence[HeadProblem], bags: Sequence[BagLatents], labels: Sequence[Array]
) -> list[HeadProblem]:
    """Without the folds of members that leave a head too few patients to choose anything with."""

    def enough(own: HeadProblem) -> bool:
        patients, y = bags[own.member].patients[own.train], labels[own.member][own.train]
        return all(len(np.unique(patients[y == value])) > 1 for value in (0, 1))

    few = {own.member for own in problems if not enough(own)}
    return [own for own in problems if own.member not in few or not len(own.test)]


def rows_of(bags: BagLatents, rows: Sequence[int] | Array) -> BagLatents:
    """Some of the bags; the cells are shared, not copied."""
    chosen = [int(n) for n in rows]
    cells: dict[str, Any] = {
        name: [whole[n] for n in chosen] if len(whole) else ()
        for name in ("latents", "token_of_cell", "markers")
        for whole in [getattr(bags, name)]
    }
    return replace(bags, **cells, extras=bags.extras[chosen], patients=bags.patients[chosen])


def log_losses(logits: Array, labels: Array) -> Array:
    """Log loss of each bag."""
    losses: Array = np.logaddexp(0.0, logits) - labels * logits
    return losses


def chosen_elsewhere(logits_pn: Array, labels: Array, tests: Sequence[Array]) -> Array:
    """(n) logits of each fold at the point of the grid with the least loss over the other folds.

    At the best point of all folds a fold's own labels would have chosen what is said of it, and the
    inner logits of noise would look like knowledge.
    """
    loss_pn = log_losses(logits_pn, labels)
    total = loss_pn.sum(-1)
    chosen: Array = np.full(logits_pn.shape[1], np.nan)
    for test in tests:
        best = int((total - loss_pn[:, test].sum(-1)).argmin())
        chosen[test] = logits_pn[best, test]
    return chosen
