"""Stratified k-fold cross-validation over patients, repeated."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, final

import numpy as np

from recart.data.folds.blocks import BlockColumns, Codes, block_words, blocks_of, shared_blocks
from recart.data.folds.dealing import deal_blocks
from recart.data.folds.development import Labelled
from recart.data.folds.patient_columns import PatientColumns
from recart.data.folds.scheme import FoldScheme
from recart.data.folds.strata import HOLDING, class_counts, strata
from recart.data.split import Split
from recart.problems import InputError, Problem

__all__ = ["StratifiedPatientKFold"]


@final
class StratifiedPatientKFold(FoldScheme):
    """K-fold over patients, stratified by class and grade; repeats are new partitions.

    Patients stay whole. With several bags per patient the strata are: label 1 only, both, label 0
    only. Every part of every fold holds both classes; per stratum and in all, fold sizes differ by
    at most one. More repeats leave the earlier ones as they were, and each model has another seed.

    Parameters
    ----------
    k
        Folds per repeat, at least 2 and at most the patients of the smaller class.
    repeats
        Number of partitions.
    validation
        Share of the development patients that chooses the epoch; rounded, at least one per class.
    block
        Column, or columns, of samples or patients, such as library and family: patients that share
        a value, directly or through others, stay in one part. Folds are then as even as blocks
        allow. None: every patient for himself.
    """

    def __init__(self, k: int, repeats: int, validation: float, block: BlockColumns = None) -> None:
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
        self._block = block

    def split(
        self,
        patients: np.ndarray[Any, Any],
        labels: np.ndarray[Any, Any],
        seed: int,
        names: Sequence[str],  # noqa: ARG002
        columns: PatientColumns | None = None,
    ) -> Split:
        """Split patients; the order of the bags does not matter.

        Raises
        ------
        InputError
            If a class has too few patients, or too few blocks, for `k` folds with validation
            patients.
        """
        codes, stratum = strata(patients, labels)
        self._check(stratum)
        block = blocks_of(codes, self._block, columns)
        grade = None if columns is None or columns.grade is None else columns.grade[codes]
        own = Labelled(codes=codes, stratum=stratum, block=block)
        folds = []
        for repeat in range(self._repeats):
            rng = np.random.default_rng(np.random.SeedSequence((seed, repeat)))
            fold_of = deal_blocks(stratum, block, self._k, rng, grade)
            self._check_folds(fold_of, stratum, block)
            for fold in range(self._k):
                made = own.fold(
                    fold_of == fold, share=self._validation, repeat=repeat, fold=fold, rng=rng
                )
                folds.append(made)
        return Split(seed=seed, folds=tuple(folds), blocks=shared_blocks(codes, block))

    def _check(self, stratum: Codes) -> None:
        """Each class: one patient for each fold, and two left for training and validation."""
        problems = []
        for label, holding in HOLDING.items():
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

    def _check_folds(self, fold_of: Codes, stratum: Codes, block: Codes) -> None:
        """Both classes in every fold: without blocks always, with them only where they allow it."""
        counts_bc = class_counts(stratum, block)
        fold_of_block = fold_of[np.unique(block, return_index=True)[1]]
        problems = []
        for column, label in enumerate(HOLDING):
            held = np.bincount(fold_of_block, counts_bc[:, column], minlength=self._k)
            if (held > 0).all():
                continue
            holding, largest = int((counts_bc[:, column] > 0).sum()), counts_bc[:, column].max()
            problems.append(
                Problem(
                    code="E-FOLD-006",
                    column=block_words(self._block),
                    what=f"{holding} blocks have patients of class {label} (the largest "
                    f"{int(largest)} of {int(counts_bc[:, column].sum())}): no way was found to "
                    f"deal them into {self._k} folds with both classes in each",
                    mend="use fewer folds (data.folds.k), another block, data/folds="
                    "leave_one_site_out, or none (data.folds.block=null)",
                )
            )
        if problems:
            raise InputError(problems)
