"""A fixed outside cohort: patients of other places, held out of everything, predicted once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from recart.data.folds.blocks import BlockColumns, Codes, block_words, blocks_of, shared_blocks
from recart.data.folds.development import Labelled, Mask, check_validation
from recart.data.folds.patient_columns import PatientColumns
from recart.data.folds.scheme import FoldScheme
from recart.data.folds.site_numbers import site_numbers
from recart.data.folds.strata import HOLDING, strata
from recart.data.split import Kind, Split
from recart.problems import InputError, Problem, Problems

__all__ = ["ExternalCohort"]


@final
class ExternalCohort(FoldScheme):
    """Patients with certain values of a column are the test of models trained on all others.

    The models differ in their seeds and validation patients; their mean is the prediction.

    Parameters
    ----------
    column
        Column of the samples or patients, such as `site`; every patient has one value of it.
    values
        Values that mark the outside patients.
    repeats
        Models.
    validation
        Share of the development patients that chooses the epoch; rounded, at least one per class.
    block
        A further column, or several, such as library and family: patients that share a value stay
        in one part. It may not tie outside patients to the others. None: every patient for himself.
    """

    def __init__(
        self,
        column: str,
        values: Sequence[str],
        repeats: int,
        validation: float,
        block: BlockColumns = None,
    ) -> None:
        check_validation(validation)
        if repeats < 1 or not values:
            problem = Problem(
                code="E-FOLD-001",
                what=f"repeats={repeats}, values={list(values)}",
                mend="repeats must be at least 1, and values name the outside patients",
            )
            raise InputError([problem])
        self._column = column
        self._values = [str(value) for value in values]
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
            If the column or a value is not there, a patient has no value or several, the outside
            patients are of one class, a block ties them to others, or the others are too few.
        """
        codes, stratum = strata(patients, labels)
        site, sites = site_numbers(codes, self._column, columns)
        self._check_values(sites)
        outside = np.isin(site, [sites.index(value) for value in self._values])
        block = blocks_of(codes, self._block, columns)
        self._check(outside, stratum, block)
        own = Labelled(codes=codes, stratum=stratum, block=block)
        folds = []
        for repeat in range(self._repeats):
            rng = np.random.default_rng(np.random.SeedSequence((seed, repeat)))
            folds.append(own.fold(outside, share=self._validation, repeat=repeat, fold=0, rng=rng))
        return Split(
            seed=seed, folds=tuple(folds), kind=Kind.EXTERNAL, blocks=shared_blocks(codes, block)
        )

    def _check_values(self, sites: list[str]) -> None:
        absent = [value for value in self._values if value not in sites]
        if absent:
            problem = Problem(
                code="E-FOLD-011",
                column=self._column,
                count=len(absent),
                examples=tuple(absent),
                what=f"{len(absent)} values of data.folds.values are no labelled patient's",
                mend=f"there are: {', '.join(sites[:20])}",
            )
            raise InputError([problem])

    def _check(self, outside: Mask, stratum: Codes, block: Codes) -> None:
        problems = Problems()
        for label, holding in HOLDING.items():
            if not np.isin(stratum[outside], holding).any():
                problems.error(
                    Problem(
                        code="E-FOLD-012",
                        column=self._column,
                        what=f"the outside patients have none of class {label}",
                        mend="an outside cohort is evaluated with patients of both classes; "
                        "embed.py predicts patients without labels",
                    )
                )
        tied = np.isin(block, block[outside]) & ~outside
        if tied.any():
            problems.error(
                Problem(
                    code="E-FOLD-010",
                    column=block_words(self._block),
                    count=int(tied.sum()),
                    what=f"{int(tied.sum())} other patients share a block with outside patients: "
                    "they are not outside",
                    mend="mark these patients as outside, too, or leave them out",
                )
            )
        problems.raise_if_any()
