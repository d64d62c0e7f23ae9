"""Leave-one-patient-out: a prediction for every patient, and no AUROC."""

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

__all__ = ["LeaveOnePatientOut"]


@final
class LeaveOnePatientOut(FoldScheme):
    """Each patient is held out alone: predictions to look at, one a patient.

    No AUROC is given over them: each model has trained on one patient too few of the class it is
    tested on, and a regularised model on noise then reads an AUROC far below one half
    (`recart.evaluation.metrics`).

    Parameters
    ----------
    validation
        Share of the development patients that chooses the epoch; rounded, at least one per class.
    block
        Column, or columns, of samples or patients: who shares a value with the held-out patient,
        directly or through others, is left out of that fold's training. None: every patient for
        himself.
    """

    def __init__(self, validation: float, block: BlockColumns = None) -> None:
        check_validation(validation)
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
            If fewer than two patients of a class are left beside one.
        """
        codes, stratum = strata(patients, labels)
        block = blocks_of(codes, self._block, columns)
        own = Labelled(codes=codes, stratum=stratum, block=block)
        rng = np.random.default_rng(np.random.SeedSequence((seed, 0)))
        folds = tuple(
            own.fold(codes == code, share=self._validation, repeat=0, fold=fold, rng=rng)
            for fold, code in enumerate(codes)
        )
        return Split(seed=seed, folds=folds, kind=Kind.GROUPS, blocks=shared_blocks(codes, block))
