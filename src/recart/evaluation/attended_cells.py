"""Whether the cells that an attention head points to carry its score, on held-out patients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from recart.data.features import bind
from recart.training.attention_deletion import deletion_curve
from recart.training.bag_latents import bag_latents
from recart.training.cell_attention_head import FittedCellAttentionHead
from recart.training.cohort_setup import PreparedCohort
from recart.training.ensemble_head import FittedEnsembleHead
from recart.training.heads import FittedHead
from recart.training.jobs import labelled_bags
from recart.training.member_file import LoadedMember

__all__ = ["attended_cells"]

_SHARE: Final = 0.2  # of a bag's cells that is taken away
_DRAWS: Final = 3  # of as many at random


def attended_cells(members: Sequence[LoadedMember], cohort: PreparedCohort) -> str:
    """How far held-out scores move without the most attended cells, and without random ones.

    Empty where no head attends to cells, or what attends to them has no weight in the score. Bags
    of every member count alike.
    """
    found = list(_moved(members, cohort))
    if not found:
        return ""
    top, random = (float(np.mean(np.concatenate(own))) for own in zip(*found, strict=True))
    reading = (
        "attention points to what carries the score"
        if top > random
        else "attention does not point to what carries the score: do not read it"
    )
    return (
        f"without the {_SHARE:.0%} most attended cells of a held-out bag its log odds move by "
        f"{top:.2g} on average, without as many at random by {random:.2g}: {reading}"
    )


def _moved(
    members: Sequence[LoadedMember], cohort: PreparedCohort
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(n) change of each held-out bag's score by cells of each attention in it, and at random."""
    store, bags = cohort.store, cohort.bags
    code_of = {name: code for code, name in enumerate(store.patients.index)}
    for member in members:
        attending = _attending(member.head)
        if not attending:
            continue
        rows = labelled_bags(bags, [code_of[name] for name in member.held_out])
        bound = bind(member.features, store)
        unseen = bag_latents(member.stack, bound, store, bags, rows, cohort.extras)
        for own in attending:
            curve = deletion_curve(own, member.head, unseen, [_SHARE], draws=_DRAWS, seed=0)
            yield curve.top[0], curve.random[0]


def _attending(head: FittedHead) -> list[FittedCellAttentionHead]:
    if isinstance(head, FittedEnsembleHead):
        pairs = zip(head.parts.values(), head.weights, strict=True)
        return [own for part, weight in pairs if weight for own in _attending(part)]
    return [head] if isinstance(head, FittedCellAttentionHead) else []
