"""Reads a table of folds: CSV, TSV or Parquet with the columns patient, fold and perhaps repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recart.data.readers.tables import as_text, read_table
from recart.problems import InputError, Problem, Problems

__all__ = ["read_folds"]

_NEEDED = ("patient", "fold")


def read_folds(path: Path) -> pd.DataFrame:
    """`patient` (text), `fold` and `repeat` (numbers from 0, in the order of their names).

    Names that are all numbers are in the order of these. Without a column `repeat` there is one.

    Raises
    ------
    InputError
        If the file cannot be read, a column lacks, or a row has no patient, fold or repeat.
    """
    problems = Problems()
    table = _read(path)
    for column in (name for name in _NEEDED if name not in table):
        problems.error(
            Problem(
                code="E-SPLIT-011",
                file=path.name,
                column=column,
                what=f"the table of folds has no column {column}",
                mend=f"there are {', '.join(map(str, table.columns))}; rename one of them",
            )
        )
    problems.raise_if_any()
    if "repeat" not in table:
        table = table.assign(repeat="0")
    own = table[[*_NEEDED, "repeat"]].apply(as_text).replace("", np.nan)
    empty = np.flatnonzero(own.isna().any(axis=1).to_numpy())
    if len(empty):
        problems.error(
            Problem(
                code="E-SPLIT-012",
                file=path.name,
                count=len(empty),
                examples=tuple(f"row {row + 1}" for row in empty),
                what=f"{len(empty)} rows lack their patient, fold or repeat",
                mend="fill them in, or delete the rows",
            )
        )
    problems.raise_if_any()
    return own.assign(fold=_numbers(own["fold"]), repeat=_numbers(own["repeat"]))


def _read(path: Path) -> pd.DataFrame:
    if path.suffix != ".parquet":
        problems = Problems()
        table = read_table(path, problems)
        if table is None:
            raise InputError(problems.errors)
        return table
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        problem = Problem(
            code="E-SPLIT-001",
            file=path.name,
            what=f"the table of folds cannot be read as Parquet ({type(error).__name__})",
            mend="correct the path, or write the table as CSV",
        )
        raise InputError([problem]) from None


def _numbers(names: pd.Series[Any]) -> np.ndarray[Any, Any]:
    """Numbers from 0 in the order of the names: of numbers where all are, else of words."""
    numbers = pd.to_numeric(names, errors="coerce")
    order = np.unique(names if numbers.isna().any() else numbers, return_inverse=True)
    codes: np.ndarray[Any, Any] = order[1].astype(np.int64)
    return codes
