"""Columns of the cohort's tables by patient: site, library, family, or whatever a scheme names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recart.problems import InputError, Problem

__all__ = ["PatientColumns"]

_ABSENT = frozenset({"", "nan", "none", "na", "<na>"})


@dataclass(frozen=True, kw_only=True)
class PatientColumns:
    """The sample and patient tables as a fold scheme reads them.

    Attributes
    ----------
    samples
        Rows of the samples that may enter a prediction; `patient` is a patient code.
    patients
        One row a patient, by code.
    grade
        (patient) what folds are even in beside the classes, such as the level of an ordinal
        endpoint or the quarter of a follow-up time; None: nothing.
    pseudonym
        Of a patient's name in the data, for folds that stand in a table of the user's; None: not
        known.
    """

    samples: pd.DataFrame
    patients: pd.DataFrame
    grade: np.ndarray[Any, Any] | None = None
    pseudonym: Callable[[str], str] | None = None

    def values(self, column: str, codes: np.ndarray[Any, Any]) -> pd.DataFrame:
        """Columns `patient` (code) and `value` (text): every value of each patient, once.

        A patient whose samples have several values has several rows; one without any has none.

        Raises
        ------
        InputError
            If neither table has the column.
        """
        if column in self.samples and column != "patient":
            table = self.samples[["patient", column]].set_axis(["patient", "value"], axis=1)
        elif column in self.patients:
            values = self.patients[column].to_numpy()
            table = pd.DataFrame({"patient": np.arange(len(values)), "value": values})
        else:
            known = sorted({*map(str, self.samples), *map(str, self.patients)} - {"patient"})
            problem = Problem(
                code="E-FOLD-004",
                column=column,
                what="neither the samples nor the patients have this column, but the folds are "
                "made by it",
                mend=f"name one of {', '.join(known) or 'none'}",
            )
            raise InputError([problem])
        table = table[table["value"].notna() & table["patient"].isin(codes.tolist())]
        table = table.assign(value=table["value"].astype(str).str.strip())
        table = table[~table["value"].str.lower().isin(_ABSENT)]
        return table.drop_duplicates().sort_values(["patient", "value"], ignore_index=True)
