"""Clinical covariates alone: what is known of a patient without sequencing a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.store import CohortStore
from recart.evaluation.baselines.baseline import Baseline, IndexArray, bag_groups, bag_patients
from recart.evaluation.baselines.ridge import inner_folds, ridge_logits
from recart.evaluation.predictions import FloatArray
from recart.problems import InputError, Problem

__all__ = ["ClinicalOnly"]


@final
class ClinicalOnly(Baseline):
    """The patient table's covariates that the configuration names, ridge logistic.

    Parameters
    ----------
    columns
        Columns of the patient table, such as age or tumour burden, known when the prediction is
        made. Without any the baseline is left out, and the report says so.

    Notes
    -----
    What is missing of a number is the training mean, and of a category no level; a column of its
    own says that it is missing. Categories are the levels of the training patients: another one in
    a held-out patient is no level.
    """

    def __init__(self, columns: Sequence[str] = ()) -> None:
        self.columns = tuple(columns)

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return "clinical only"

    def lacking(self, store: CohortStore) -> str:
        """Why there is nothing to fit; empty where there is.

        Raises
        ------
        InputError
            If a named column is not in the patient table.
        """
        absent = [column for column in self.columns if column not in store.patients]
        if absent:
            raise InputError(
                Problem(
                    code="E-EVAL-015",
                    column=column,
                    what="the patient table has no such covariate",
                    mend="name columns of the patient table in baselines.clinical.columns",
                )
                for column in absent
            )
        return "" if self.columns else "no covariates are named (baselines.clinical.columns)"

    def fit_predict(
        self, store: CohortStore, bags: Bags, train: IndexArray, test: IndexArray, seed: int
    ) -> FloatArray:
        """Logits of the bags `test`; see `Baseline.fit_predict`."""
        from sklearn.impute import SimpleImputer
        from sklearn.preprocessing import StandardScaler

        owners = bag_patients(bags, np.concatenate([train, test]))
        table = store.patients.iloc[owners][list(self.columns)]
        parts = [_features(table[column], len(train)) for column in self.columns]
        x = np.hstack([np.empty((len(table), 0)), *parts])
        seen = np.isfinite(x[: len(train)]).any(axis=0)
        y = bags.table["label"].to_numpy(dtype=float)[train]
        return ridge_logits(
            [("impute", SimpleImputer(keep_empty_features=True)), ("scale", StandardScaler())],
            x[: len(train), seen],
            y,
            inner_folds(y, bag_groups(bags, train), seed),
            x[len(train) :, seen],
        )


def _features(values: pd.Series, train: int) -> FloatArray:
    """(n, f) of one covariate; the first `train` rows say which levels there are."""
    missing = values.isna().to_numpy(dtype=float)[:, None]
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.to_numpy(dtype=float, na_value=np.nan)[:, None]
        parts = [np.where(np.isfinite(numbers), numbers, np.nan)]
    else:
        text = values.astype("object").where(values.notna(), None)
        levels = sorted({str(value) for value in text.iloc[:train] if value is not None})
        named = np.array(["" if value is None else str(value) for value in text])
        parts = [(named == level).astype(float)[:, None] for level in levels]
    if missing[:train].any():
        parts.append(missing)
    table: FloatArray = np.hstack(parts) if parts else np.empty((len(values), 0))
    return table
