"""The one value of a column that each patient has, for schemes that hold out whole sites."""

from __future__ import annotations

import numpy as np

from recart.data.folds.blocks import Codes
from recart.data.folds.patient_columns import PatientColumns
from recart.problems import InputError, Problem, Problems

__all__ = ["site_numbers"]


def site_numbers(
    codes: Codes, column: str, columns: PatientColumns | None
) -> tuple[Codes, list[str]]:
    """Number of each patient's value, and the values in alphabetical order.

    Raises
    ------
    InputError
        If the column is not there, or a patient has no value of it or several.
    """
    problems = Problems()
    if columns is None:
        raise InputError(
            [
                Problem(
                    code="E-FOLD-004",
                    column=column,
                    what="the folds are made by a column, but no tables are at hand",
                    mend="give the scheme the columns of the cohort",
                )
            ]
        )
    table = columns.values(column, codes)
    own = table.groupby("patient")["value"].nunique().reindex(codes, fill_value=0).to_numpy()
    for count, what in (
        (int((own == 0).sum()), "have no value"),
        (int((own > 1).sum()), "have samples of several values"),
    ):
        if count:
            problems.error(
                Problem(
                    code="E-FOLD-008",
                    column=column,
                    count=count,
                    what=f"{count} patients {what}: which model may see them is not defined",
                    mend="give each patient one value, or use data/folds=stratified with "
                    f"data.folds.block={column}",
                )
            )
    problems.raise_if_any()
    names = sorted(set(table["value"]))
    number = {name: at for at, name in enumerate(names)}
    first = table.set_index("patient")["value"].reindex(codes)
    return np.array([number[value] for value in first], dtype=np.int64), names
