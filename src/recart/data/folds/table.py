"""Folds that somebody else has made: a table of patients by the names that the data gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from recart.data.folds.blocks import BlockColumns, Codes, block_words, blocks_of, shared_blocks
from recart.data.folds.development import Labelled, check_validation
from recart.data.folds.patient_columns import PatientColumns
from recart.data.folds.scheme import FoldScheme
from recart.data.folds.strata import strata
from recart.data.folds.table_file import read_folds
from recart.data.split import FoldPatients, Split, check_classes
from recart.problems import InputError, Problem, Problems

__all__ = ["FoldTable"]


@final
class FoldTable(FoldScheme):
    """Who is held out when stands in a table, such as a consortium's or a publication's folds.

    Parameters
    ----------
    path
        CSV, TSV or Parquet with the columns `patient` (as in the data, or pseudonyms) and `fold`,
        and `repeat` where there are several partitions; other columns are not read. In each repeat
        every labelled patient stands once. Patients of the cohort without a label may be in it.
    validation
        Share of the development patients that chooses the epoch; rounded, at least one per class.
    block
        Column, or columns, of samples or patients: who shares a value stays together in inner
        folds, and is refused in two folds of the table. None: every patient for himself.
    """

    def __init__(self, path: str, validation: float, block: BlockColumns = None) -> None:
        check_validation(validation)
        self._path = Path(path)
        self._validation = validation
        self._block = block

    def split(
        self,
        patients: np.ndarray[Any, Any],
        labels: np.ndarray[Any, Any],
        seed: int,
        names: Sequence[str],
        columns: PatientColumns | None = None,
    ) -> Split:
        """Split patients; the order of bags and rows does not matter.

        Raises
        ------
        InputError
            If the table is not sound, does not fit the cohort, parts a block, or leaves a part of
            a fold without a class.
        """
        codes, stratum = strata(patients, labels)
        table = read_folds(self._path)
        table["code"] = self._codes(table["patient"], names, columns)
        fold_rp = self._folds(table, codes)
        block = blocks_of(codes, self._block, columns)
        self._check_blocks(fold_rp, block)
        own = Labelled(codes=codes, stratum=stratum, block=block)
        folds = self._made(own, fold_rp, seed)
        split = Split(seed=seed, folds=folds, blocks=shared_blocks(codes, block))
        check_classes(split, patients, labels)
        return split

    def _codes(
        self, patients: pd.Series[Any], names: Sequence[str], columns: PatientColumns | None
    ) -> Codes:
        """Code of the patient of each row, by his name in the data or by his pseudonym."""
        code_of = {name: code for code, name in enumerate(names)}
        if columns is not None and columns.pseudonym is not None:
            for own in set(patients) - set(code_of):
                code_of[own] = code_of.get(columns.pseudonym(own), -1)
        codes = np.array([code_of.get(own, -1) for own in patients], dtype=np.int64)
        unknown = np.flatnonzero(codes < 0)
        if len(unknown):
            raise InputError(
                [
                    self._problem(
                        "E-SPLIT-008",
                        f"the patients of {len(unknown)} rows are not in the cohort",
                        "write them as they stand in the data; of patients who were left out on "
                        "purpose, delete the rows",
                        unknown,
                    )
                ]
            )
        return codes

    def _folds(self, table: pd.DataFrame, codes: Codes) -> Codes:
        """(r, p) fold of each labelled patient in each repeat."""
        problems, of_repeats = Problems(), []
        again = np.flatnonzero(table.duplicated(["repeat", "code"]).to_numpy())
        if len(again):
            problems.error(
                self._problem(
                    "E-SPLIT-009",
                    f"{len(again)} rows name a patient again within a repeat",
                    "a patient is held out once a repeat: number partitions in a column repeat",
                    again,
                )
            )
        for repeat, own in table.groupby("repeat"):
            fold_of = own.drop_duplicates("code").set_index("code")["fold"].reindex(codes)
            lacking = int(fold_of.isna().sum())
            if lacking:
                problems.error(
                    self._problem(
                        "E-SPLIT-004",
                        f"{lacking} labelled patients of the cohort are in no fold of repeat "
                        f"{repeat}",
                        "add them to the table, or exclude them (data.exclude)",
                    )
                )
            of_repeats.append(np.unique(fold_of.fillna(-1), return_inverse=True)[1])
        problems.raise_if_any()
        sizes = {int(fold_of.max()) + 1 for fold_of in of_repeats}
        if len(sizes) > 1 or min(sizes) < 2:
            raise InputError(
                [
                    self._problem(
                        "E-SPLIT-010",
                        f"repeats have {' and '.join(map(str, sorted(sizes)))} folds",
                        "every repeat needs the same number of folds, two at least",
                    )
                ]
            )
        return np.array(of_repeats, dtype=np.int64)

    def _check_blocks(self, fold_rp: Codes, block: Codes) -> None:
        parted = sum(
            any(len(set(fold_of[block == own].tolist())) > 1 for fold_of in fold_rp)
            for own in set(block.tolist())
        )
        if parted:
            problem = Problem(
                code="E-FOLD-010",
                file=self._path.name,
                column=block_words(self._block),
                count=parted,
                what=f"{parted} blocks are in several folds of the table",
                mend="make the folds by these blocks, or set data.folds.block=null",
            )
            raise InputError([problem])

    def _made(self, own: Labelled, fold_rp: Codes, seed: int) -> tuple[FoldPatients, ...]:
        problems, folds = Problems(), []
        for repeat, fold_of in enumerate(fold_rp):
            rng = np.random.default_rng(np.random.SeedSequence((seed, repeat)))
            for fold in range(int(fold_of.max()) + 1):
                try:
                    folds.append(
                        own.fold(
                            fold_of == fold,
                            share=self._validation,
                            repeat=repeat,
                            fold=fold,
                            rng=rng,
                        )
                    )
                except InputError as error:
                    problems.errors += error.problems
        problems.raise_if_any()
        return tuple(folds)

    def _problem(
        self, code: str, what: str, mend: str, rows: np.ndarray[Any, Any] | None = None
    ) -> Problem:
        """A problem with the table; rows are named by number, for patients' names are private."""
        return Problem(
            code=code,
            file=self._path.name,
            what=what,
            mend=mend,
            count=None if rows is None else len(rows),
            examples=() if rows is None else tuple(f"row {row + 1}" for row in rows),
        )
