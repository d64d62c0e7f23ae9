"""What each kind of split has to hold to, whoever made it: checked on making one and on reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any, Final

import numpy as np

from recart.problems import Problem

__all__ = ["PARTS", "FoldPatients", "Kind", "broken_rules", "lacking_classes", "pairs_of"]

_SEEN: Final = ("train", "validation", "held_out")
PARTS: Final = (*_SEEN, "aside")


class Kind(StrEnum):
    """What the folds of a split are to each other, and so what may be computed over them.

    In every kind each patient is in exactly one part of each fold, and training, validation and
    held-out patients are not empty.

    Attributes
    ----------
    PARTITION
        In each repeat everyone is held out once; every part has both classes.
    GROUPS
        The same, but held-out patients may be of one class: one patient, or one site.
    PAIRS
        Each pair of patients of whom one has a positive and the other a negative bag is held out
        once.
    EXTERNAL
        The same outside patients are held out of every fold and are never developed on.
    """

    PARTITION = "partition"
    GROUPS = "groups"
    PAIRS = "pairs"
    EXTERNAL = "external"


@dataclass(frozen=True, kw_only=True)
class FoldPatients:
    """Patients (codes, ascending) of one fold of one repeat, and the seed of its models.

    `train` and `validation` together are the development patients: `validation` chooses the epoch.
    Patients `aside` share a block with a held-out patient: the fold's models see them no more than
    the held-out ones, and do not predict them.
    """

    repeat: int
    fold: int
    seed: int
    train: tuple[int, ...]
    validation: tuple[int, ...]
    held_out: tuple[int, ...]
    aside: tuple[int, ...] = ()


def pairs_of(patients: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    """Pairs of patients (codes) of whom one has a bag of label 1 and the other one of label 0."""
    holding = {label: set(map(int, patients[labels == label])) for label in (0, 1)}
    return [
        (a, b)
        for a, b in combinations(sorted(holding[0] | holding[1]), 2)
        if (a in holding[1] and b in holding[0]) or (a in holding[0] and b in holding[1])
    ]


def broken_rules(
    folds: Sequence[FoldPatients], kind: Kind, blocks: Sequence[Sequence[int]]
) -> Iterator[Problem]:
    """Every rule that the folds break, without knowing labels."""
    if not folds:
        yield _problem("the split has no folds")
        return
    everyone = set().union(*(set(getattr(f, part)) for f in folds for part in PARTS))
    for fold in folds:
        yield from _of_fold(fold, everyone, blocks)
    if len({(fold.repeat, fold.fold) for fold in folds}) != len(folds):
        yield _problem("two folds have the same number")
    if kind is Kind.PARTITION and any(fold.aside for fold in folds):
        yield _problem("a partition leaves nobody aside: blocks are held out whole")
    for repeat in sorted({fold.repeat for fold in folds}):
        own = [fold for fold in folds if fold.repeat == repeat]
        if kind is Kind.PAIRS:
            yield from _of_pairs(own, repeat)
        elif kind is Kind.EXTERNAL:
            if len(own) > 1:
                yield _problem(f"repeat {repeat}: {len(own)} folds with one outside cohort")
        else:
            held_out = [code for fold in own for code in fold.held_out]
            wrong = sum(held_out.count(code) != 1 for code in everyone)
            if wrong:
                yield _problem(f"repeat {repeat}: {wrong} patients are held out never or twice")
    if kind is Kind.EXTERNAL and len({fold.held_out for fold in folds}) > 1:
        yield _problem("the outside patients are not the same in every fold")


def _of_fold(
    fold: FoldPatients, everyone: set[int], blocks: Sequence[Sequence[int]]
) -> Iterator[Problem]:
    place = f"repeat {fold.repeat}, fold {fold.fold}"
    seen = [code for part in PARTS for code in getattr(fold, part)]
    if len(seen) != len(set(seen)):
        yield _problem(f"{place}: {len(seen) - len(set(seen))} patients are in two parts")
    if everyone - set(seen):
        yield _problem(f"{place}: {len(everyone - set(seen))} patients are in no part")
    for part in _SEEN:
        if not getattr(fold, part):
            yield _problem(f"{place}: no {part} patients")
    parted = sum(
        sum(bool(set(block) & set(getattr(fold, part))) for part in _SEEN) > 1 for block in blocks
    )
    if parted:
        yield _problem(f"{place}: {parted} blocks are in two parts")
    tied = {code for block in blocks if set(block) & set(fold.held_out) for code in block}
    if set(fold.aside) - tied:
        yield _problem(
            f"{place}: {len(set(fold.aside) - tied)} patients are left aside who share no block "
            "with a held-out patient"
        )


def _of_pairs(folds: Sequence[FoldPatients], repeat: int) -> Iterator[Problem]:
    wrong = sum(len(fold.held_out) != 2 for fold in folds)
    if wrong:
        yield _problem(f"repeat {repeat}: {wrong} folds hold out another number than a pair")
    if len({fold.held_out for fold in folds}) < len(folds):
        yield _problem(f"repeat {repeat}: a pair is held out twice")


def lacking_classes(
    folds: Sequence[FoldPatients],
    kind: Kind,
    patients: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any],
) -> Iterator[Problem]:
    """What the labels of the bags say against the folds: parts of one class, pairs that lack."""
    needed = _SEEN[:2] if kind is Kind.GROUPS else _SEEN
    for fold in folds:
        for part in needed:
            found = np.unique(labels[np.isin(patients, getattr(fold, part))])
            if len(found) < 2:
                yield Problem(
                    code="E-SPLIT-005",
                    what=f"repeat {fold.repeat}, fold {fold.fold}: the {part} patients have "
                    f"{f'class {int(found[0])} only' if len(found) else 'no labelled bag'}",
                    mend="use fewer folds, or a split that is stratified by the endpoint",
                )
    if kind is Kind.PAIRS:
        wanted = set(pairs_of(patients, labels))
        for repeat in sorted({fold.repeat for fold in folds}):
            held = {fold.held_out for fold in folds if fold.repeat == repeat}
            if wanted - held:
                yield Problem(
                    code="E-SPLIT-006",
                    count=len(wanted - held),
                    what=f"repeat {repeat}: {len(wanted - held)} pairs of a positive and a "
                    "negative patient are not held out",
                    mend="make a new split for this cohort",
                )


def _problem(what: str) -> Problem:
    return Problem(code="E-SPLIT-002", what=what, mend="make a new split")
