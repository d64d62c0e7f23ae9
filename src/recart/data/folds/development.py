"""From who is held out to a fold: which of the others train, and which choose the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np

from recart.data.folds.blocks import Codes
from recart.data.folds.strata import HOLDING, STRATA, class_counts
from recart.data.split import FoldPatients
from recart.problems import InputError, Problem

__all__ = ["Labelled", "Mask", "check_validation"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]

_EXACT: Final = 12  # up to so many blocks all choices of them are tried
_ATTEMPTS: Final = 20
_LACKING: Final = 1e6


def check_validation(validation: float) -> None:
    """Refuse a share of validation patients that is none.

    Raises
    ------
    InputError
        Unless it lies between 0 and 1.
    """
    if not 0 < validation < 1:
        problem = Problem(
            code="E-FOLD-001", what=f"validation={validation}", mend="give a share between 0 and 1"
        )
        raise InputError([problem])


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """The labelled patients: `codes` (ascending), `stratum` and `block` of each."""

    codes: Codes
    stratum: Codes
    block: Codes

    @property
    def blocked(self) -> bool:
        """Whether any two patients share a block."""
        return int(self.block.max()) + 1 < len(self.block)

    def fold(
        self, held_out: Mask, *, share: float, repeat: int, fold: int, rng: np.random.Generator
    ) -> FoldPatients:
        """One fold; who shares a block with a held-out patient is trained on by nobody.

        Parameters
        ----------
        held_out
            Of each patient, whether it is held out.
        share
            Of the development patients that choose the epoch, at least one block of each class.

        Raises
        ------
        InputError
            If the development patients do not have two of each class, or their blocks do not
            leave both classes on both sides.
        """
        touched = np.isin(self.block, self.block[held_out])
        development = np.flatnonzero(~touched)
        self._check(development, repeat, fold)
        chosen = self._choose(development, share, rng)
        if chosen is None:
            raise InputError([_too_blocked(f"repeat {repeat}, fold {fold}")])
        return FoldPatients(
            repeat=repeat,
            fold=fold,
            seed=int(rng.integers(2**31)),
            train=self._codes(development[~chosen]),
            validation=self._codes(development[chosen]),
            held_out=self._codes(np.flatnonzero(held_out)),
            aside=self._codes(np.flatnonzero(touched & ~held_out)),
        )

    def _codes(self, rows: Codes) -> tuple[int, ...]:
        return tuple(self.codes[rows].tolist())

    def _check(self, development: Codes, repeat: int, fold: int) -> None:
        problems = []
        for label, holding in HOLDING.items():
            n = int(np.isin(self.stratum[development], holding).sum())
            if n < 2:
                problems.append(
                    Problem(
                        code="E-FOLD-003",
                        count=n,
                        what=f"repeat {repeat}, fold {fold}: {n} patients of class {label} are "
                        "left to train on and to choose the epoch, which takes two",
                        mend="use data/folds=stratified, without blocks or by smaller ones",
                    )
                )
        if problems:
            raise InputError(problems)

    def _choose(self, development: Codes, share: float, rng: np.random.Generator) -> Mask | None:
        stratum = self.stratum[development]
        if not self.blocked:
            return choose(stratum, share, rng)
        block = np.unique(self.block[development], return_inverse=True)[1]
        blocks = choose_blocks(class_counts(stratum, block), share, rng)
        return None if blocks is None else blocks[block]


def choose(stratum: Codes, share: float, rng: np.random.Generator) -> Mask:
    """Choose the share, as near as both classes on both sides of the choice allow."""
    sizes = [int((stratum == s).sum()) for s in STRATA]
    near = [(0, 1, int(share * size), int(share * size) + 1, size - 1, size) for size in sizes]
    options = [
        sorted({n for n in counts if 0 <= n <= size})
        for counts, size in zip(near, sizes, strict=True)
    ]
    possible = [
        taken
        for taken in product(*options)
        if all(
            0 < sum(taken[s] for s in holding) < sum(sizes[s] for s in holding)
            for holding in HOLDING.values()
        )
    ]
    wanted = np.array([share * size for size in sizes])
    best = min(possible, key=lambda taken: float(np.square(np.array(taken) - wanted).sum()))
    chosen = np.zeros(len(stratum), dtype=np.bool_)
    for s, taken_of in zip(STRATA, best, strict=True):
        chosen[rng.permutation(np.flatnonzero(stratum == s))[:taken_of]] = True
    return chosen


def choose_blocks(counts_bc: Codes, share: float, rng: np.random.Generator) -> Mask | None:
    """The same for whole blocks, given their patients of each class; None where it can't be.

    All choices are tried where blocks are few; else the best of some shuffles, each block changing
    sides while that helps.
    """
    blocks = len(counts_bc)
    all_c = counts_bc.sum(0)
    wanted = share * all_c

    def costs(taken_nb: Mask) -> np.ndarray[Any, Any]:
        got = taken_nb.astype(np.int64) @ counts_bc
        lacking = ((got == 0) | (got == all_c)).sum(1)
        cost: np.ndarray[Any, Any] = np.square((got - wanted) / all_c).sum(1) + _LACKING * lacking
        return cost

    if blocks <= _EXACT:
        every = (np.arange(2**blocks)[:, None] >> rng.permutation(blocks) & 1).astype(np.bool_)
        cost = costs(every)
        # of equally good choices another one each time
        best = rng.choice(np.flatnonzero(cost <= cost.min() + 1e-12))
        return every[best] if cost[best] < _LACKING else None
    found, least = np.zeros(blocks, dtype=np.bool_), np.inf
    flips = np.eye(blocks, dtype=np.bool_)
    for _ in range(_ATTEMPTS):
        taken = rng.random(blocks) < share
        own = float(costs(taken[None])[0])
        while (tried := costs(taken ^ flips)).min() < own - 1e-12:
            taken, own = taken ^ flips[tried.argmin()], float(tried.min())
        if own < least:
            found, least = taken, own
    return found if least < _LACKING else None


def _too_blocked(place: str) -> Problem:
    return Problem(
        code="E-FOLD-005",
        what=f"{place}: the blocks of the development patients can't be parted so that training "
        "and validation patients both have both classes",
        mend="block by a column with more values, or by none (data.folds.block=null)",
    )
