"""Schemes that deal patients into folds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from recart.data.split import FoldPatients, Split, check_classes
from recart.problems import InputError, Problem

__all__ = ["FixedSplit", "FoldScheme", "StratifiedPatientKFold"]

Codes = np.ndarray[Any, np.dtype[np.int64]]

# A patient whose bags have both labels stands between the classes, see `_deal`.
_ONLY_1, _BOTH, _ONLY_0 = range(3)
_STRATA: Final = (_ONLY_1, _BOTH, _ONLY_0)
_HOLDING: Final = {1: (_ONLY_1, _BOTH), 0: (_ONLY_0, _BOTH)}


class FoldScheme(ABC):
    """How the labelled patients of a cohort become folds."""

    @abstractmethod
    def split(
        self,
        patients: np.ndarray[Any, Any],
        labels: np.ndarray[Any, Any],
        seed: int,
        names: Sequence[str],
    ) -> Split:
        """Split patients, given one row per labelled bag.

        Parameters
        ----------
        patients
            (n,) patient code of each bag.
        labels
            (n,) label of each bag, 0 or 1.
        seed
            Fixes the partition and the seeds of the models.
        names
            Pseudonyms of the patients, by code.
        """


@final
class StratifiedPatientKFold(FoldScheme):
    """K-fold over patients, stratified by class; repeats are new partitions.

    Patients stay whole. With several bags per patient the strata are: label 1 only, both, label 0
    only. Every part of every fold holds both classes; per stratum and in all, fold sizes differ by
    at most one. More repeats leave the earlier ones as they were.

    Parameters
    ----------
    k
        Folds per repeat, at least 2 and at most the patients of the smaller class.
    repeats
        Number of partitions.
    validation
        Share of the development patients that chooses the epoch; rounded, at least one per class.
    """

    def __init__(self, k: int, repeats: int, validation: float) -> None:
        if k < 2 or repeats < 1 or not 0 < validation < 1:
            problem = Problem(
                code="E-FOLD-001",
                what=f"k={k}, repeats={repeats}, validation={validation}",
                mend="k must be at least 2, repeats at least 1, validation between 0 and 1",
            )
            raise InputError([problem])
        self._k = k
        self._repeats = repeats
        self._validation = validation

    def split(
        self,
        patients: np.ndarray[Any, Any],
        labels: np.ndarray[Any, Any],
        seed: int,
        names: Sequence[str],  # noqa: ARG002
    ) -> Split:
        """Split patients; the order of the bags does not matter.

        Raises
        ------
        InputError
            If a class has too few patients for `k` folds with validation patients.
        """
        codes, stratum = _strata(patients, labels)
        self._check(stratum)
        folds = []
        for repeat in range(self._repeats):
            rng = np.random.default_rng(np.random.SeedSequence((seed, repeat)))
            fold_of = _deal(stratum, self._k, rng)
            for fold in range(self._k):
                development = np.flatnonzero(fold_of != fold)
                chosen = _choose(stratum[development], self._validation, rng)
                folds.append(
                    FoldPatients(
                        repeat=repeat,
                        fold=fold,
                        seed=int(rng.integers(2**31)),
                        train=_tuple(codes[development[~chosen]]),
                        validation=_tuple(codes[development[chosen]]),
                        held_out=_tuple(codes[fold_of == fold]),
                    )
                )
        return Split(seed=seed, folds=tuple(folds))

    def _check(self, stratum: Codes) -> None:
        """Each class: one patient for each fold, and two left for training and validation."""
        problems = []
        for label, holding in _HOLDING.items():
            n = int(np.isin(stratum, holding).sum())
            if n < self._k or n - ceil(n / self._k) < 2:
                most = max((k for k in range(2, n + 1) if n - ceil(n / k) >= 2), default=0)
                problems.append(
                    Problem(
                        code="E-FOLD-002",
                        count=n,
                        what=f"{n} patients of class {label} are too few for {self._k} folds with "
                        "validation patients",
                        mend=f"set data.folds.k to {most}"
                        if most
                        else "cross-validation needs at least 3 patients of each class",
                    )
                )
        if problems:
            raise InputError(problems)


@final
class FixedSplit(FoldScheme):
    """A split that stands in a file, as `Split.write` writes it: the same folds as another run.

    Parameters
    ----------
    path
        The file. Its patients are pseudonyms of the same project key.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def split(
        self,
        patients: np.ndarray[Any, Any],
        labels: np.ndarray[Any, Any],
        seed: int,  # noqa: ARG002
        names: Sequence[str],
    ) -> Split:
        """Read the split, with its own seeds, and check it against the bags.

        Raises
        ------
        InputError
            If the file is not sound, does not fit the cohort or has a part with one class.
        """
        split = Split.read(self._path, names)
        check_classes(split, patients, labels)
        return split


def _strata(patients: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> tuple[Codes, Codes]:
    """Patient codes, ascending, and the stratum of each."""
    wrong = sorted(set(np.unique(labels).tolist()) - {0, 1})
    if wrong:
        raise ValueError(f"labels must be 0 or 1, found {wrong}; leave unlabelled bags out")
    codes, row = np.unique(np.asarray(patients, dtype=np.int64), return_inverse=True)
    ones = np.bincount(row, weights=labels)
    share = ones / np.bincount(row)
    return codes, np.where(share == 1, _ONLY_1, np.where(share == 0, _ONLY_0, _BOTH))


def _deal(stratum: Codes, k: int, rng: np.random.Generator) -> Codes:
    """Fold of each patient: shuffled within strata, then dealt out like cards.

    Dealing in the order (1 only, both, 0 only) gives every fold a bag of each class as soon as k
    patients have one: those patients are neighbours in the deal. (scikit-learn deals in the same
    way, but refuses strata smaller than k, which mixed patients often are.)
    """
    order = np.concatenate([rng.permutation(np.flatnonzero(stratum == s)) for s in _STRATA])
    fold_of = np.empty(len(stratum), dtype=np.int64)
    fold_of[order] = np.arange(len(stratum)) % k
    return fold_of


def _choose(
    stratum: Codes, share: float, rng: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Choose the share, as near as both classes on both sides of the choice allow."""
    sizes = [int((stratum == s).sum()) for s in _STRATA]
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
            for holding in _HOLDING.values()
        )
    ]
    wanted = np.array([share * size for size in sizes])
    best = min(possible, key=lambda taken: float(np.square(np.array(taken) - wanted).sum()))
    chosen = np.zeros(len(stratum), dtype=np.bool_)
    for s, taken_of in zip(_STRATA, best, strict=True):
        chosen[rng.permutation(np.flatnonzero(stratum == s))[:taken_of]] = True
    return chosen


def _tuple(codes: Codes) -> tuple[int, ...]:
    return tuple(codes.tolist())
