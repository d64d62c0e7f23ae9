"""Leave-one-site-out: every site, or batch, or centre, is the test of a model that never saw it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from recart.data.folds.blocks import BlockColumns, Codes, block_words, blocks_of, shared_blocks
from recart.data.folds.development import Labelled, check_validation
from recart.data.folds.patient_columns import PatientColumns
from recart.data.folds.scheme import FoldScheme
from recart.data.folds.site_numbers import site_numbers
from recart.data.folds.strata import strata
from recart.data.split import Kind, Split
from recart.problems import InputError, Problem

__all__ = ["LeaveOneSiteOut"]


@final
class LeaveOneSiteOut(FoldScheme):
    """Each value of a column is held out whole; repeats are new seeds and validation patients.

    A site of one class has no AUROC of its own, and none is pooled over such sites
    (`recart.evaluation.metrics`).

    Parameters
    ----------
    column
        Column of the samples or patients, such as `site`; every patient has one value of it.
    repeats
        Models a site.
    validation
        Share of the development patients that chooses the epoch; rounded, at least one per class.
    block
        A further column, or several, such as library and family: patients that share a value stay
        in one part. It may not tie two sites together. None: every patient for himself.
    """

    def __init__(
        self, column: str, repeats: int, validation: float, block: BlockColumns = None
    ) -> None:
        check_validation(validation)
        if repeats < 1:
            problem = Problem(
                code="E-FOLD-001", what=f"repeats={repeats}", mend="repeats must be at least 1"
            )
            raise InputError([problem])
        self._column = column
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
            If the column is not there, a patient has no site or two, there is one site only, or
            the others have too few patients of a class.
        """
        codes, stratum = strata(patients, labels)
        site, sites = site_numbers(codes, self._column, columns)
        block = blocks_of(codes, self._block, columns)
        self._check(site, len(sites), block)
        own = Labelled(codes=codes, stratum=stratum, block=block)
        folds = []
        for repeat in range(self._repeats):
            rng = np.random.default_rng(np.random.SeedSequence((seed, repeat)))
            for fold in range(len(sites)):
                made = own.fold(
                    site == fold, share=self._validation, repeat=repeat, fold=fold, rng=rng
                )
                folds.append(made)
        return Split(
            seed=seed, folds=tuple(folds), kind=Kind.GROUPS, blocks=shared_blocks(codes, block)
        )

    def _check(self, site: Codes, sites: int, block: Codes) -> None:
        if sites < 2:
            problem = Problem(
                code="E-FOLD-009",
                column=self._column,
                what="all patients have the same value",
                mend="use data/folds=stratified, or name another column (data.folds.column)",
            )
            raise InputError([problem])
        tied = sum(len(set(site[block == own].tolist())) > 1 for own in set(block.tolist()))
        if tied:
            problem = Problem(
                code="E-FOLD-010",
                column=block_words(self._block),
                count=tied,
                what=f"{tied} blocks have patients of several values of {self._column}: to hold "
                "one out whole would hold out part of another",
                mend="use data/folds=stratified with this block, or data.folds.block=null",
            )
            raise InputError([problem])
