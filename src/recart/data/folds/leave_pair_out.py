"""Leave-pair-out cross-validation, for small cohorts: the AUROC is the share of pairs set right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from recart.data.folds.blocks import BlockColumns, blocks_of, shared_blocks
from recart.data.folds.development import Labelled, check_validation
from recart.data.folds.patient_columns import PatientColumns
from recart.data.folds.scheme import FoldScheme
from recart.data.folds.strata import strata
from recart.data.split import Kind, Split
from recart.data.split_rules import pairs_of
from recart.problems import InputError, Problem

__all__ = ["LeavePairOut"]


@final
class LeavePairOut(FoldScheme):
    """Every pair of patients of whom one is positive and one negative, held out together once.

    Both are scored by the same model, which has seen neither, and all models have the same class
    balance: nothing is pooled over models. A patient with bags of both labels is paired with
    everyone. (Airola et al., Comput. Stat. Data Anal. 2011, 55(4).)

    Parameters
    ----------
    validation
        Share of the development patients that chooses the epoch; rounded, at least one per class.
    at_most
        Patients above which it is refused: positive times negative patients models are trained.
    block
        Column, or columns, of samples or patients: who shares a value with a held-out patient,
        directly or through others, is left out of that fold's training. None: every patient for
        himself.
    """

    def __init__(self, validation: float, at_most: int, block: BlockColumns = None) -> None:
        check_validation(validation)
        self._validation = validation
        self._at_most = at_most
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
            If there are more than `at_most` patients, or too few of a class beside a pair.
        """
        codes, stratum = strata(patients, labels)
        pairs = pairs_of(patients, labels)
        self._check(len(codes), len(pairs))
        block = blocks_of(codes, self._block, columns)
        own = Labelled(codes=codes, stratum=stratum, block=block)
        rng = np.random.default_rng(np.random.SeedSequence((seed, 0)))
        folds = tuple(
            own.fold(np.isin(codes, pair), share=self._validation, repeat=0, fold=fold, rng=rng)
            for fold, pair in enumerate(pairs)
        )
        return Split(seed=seed, folds=folds, kind=Kind.PAIRS, blocks=shared_blocks(codes, block))

    def _check(self, patients: int, pairs: int) -> None:
        if patients > self._at_most:
            problem = Problem(
                code="E-FOLD-007",
                count=patients,
                what=f"{patients} patients make {pairs} pairs, and as many models to train",
                mend="use data/folds=stratified, which is as good from 30 patients on, or raise "
                f"data.folds.at_most to {patients}",
            )
            raise InputError([problem])
        if not pairs:
            problem = Problem(
                code="E-FOLD-002",
                count=0,
                what="there is no pair of a positive and a negative patient",
                mend="cross-validation needs at least 3 patients of each class",
            )
            raise InputError([problem])
