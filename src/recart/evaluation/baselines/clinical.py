"""Clinical covariates alone: what is known of a patient without sequencing a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.covariates import column_of, covariates
from recart.data.store import CohortStore
from recart.data.telling_columns import tells_the_class
from recart.evaluation.baselines.baseline import (
    Baseline,
    FoldLogits,
    IndexArray,
    bag_endpoint,
    bag_groups,
    bag_patients,
    bag_targets,
)
from recart.evaluation.baselines.ridge import inner_folds, ridge_logits
from recart.evaluation.predictions import FloatArray
from recart.problems import Problem, Problems

__all__ = ["ClinicalOnly"]


@final
class ClinicalOnly(Baseline):
    """The covariates that the configuration names, ridge logistic.

    Parameters
    ----------
    columns
        Columns of patients or samples, such as age or tumour burden, known when the prediction is
        made; see `recart.data.covariates`. Without any the baseline is left out, and the report
        says so.
    endpoint
        Column of the endpoint, which is no covariate; nor is its twin, a column whose every value
        belongs to one class.

    Notes
    -----
    What is missing of a number is the training mean, and of a category no level; a column of its
    own says that it is missing. Categories are the levels of the training patients: another one in
    a held-out patient is no level.
    """

    def __init__(self, columns: Sequence[str] = (), endpoint: str = "") -> None:
        self.columns = tuple(columns)
        self.endpoint = endpoint

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return "clinical only"

    def lacking(self, store: CohortStore, bags: Bags) -> str:
        """Why there is nothing to fit; empty where there is.

        Raises
        ------
        InputError
            If a named column is not in the patient table, or is the endpoint or its twin.
        """
        problems = Problems()
        for name in self.columns:
            column = column_of(name, [*store.patients.columns, *store.samples.columns])
            if column not in store.patients and column not in store.samples:
                problems.error(
                    Problem(
                        code="E-EVAL-015",
                        column=name,
                        what="no such covariate is known of patients or samples",
                        mend="name columns of these tables in data.covariates",
                    )
                )
            elif column == self.endpoint or (
                column in store.patients and tells_the_class(store.patients[column], bags)
            ):
                own = "is the endpoint" if column == self.endpoint else "gives the endpoint away"
                problems.error(
                    Problem(
                        code="E-EVAL-022",
                        column=name,
                        what=f"the covariate {own}: a model that reads it predicts nothing",
                        mend="take it out of data.covariates, where only what is known at the "
                        "decision may stand",
                    )
                )
        problems.raise_if_any()
        return "" if self.columns else "no covariates are named (data.covariates)"

    def fit_predict(
        self, store: CohortStore, bags: Bags, train: IndexArray, test: IndexArray, seed: int
    ) -> FoldLogits:
        """Logits of the bags `test`; see `Baseline.fit_predict`."""
        from sklearn.impute import SimpleImputer
        from sklearn.preprocessing import StandardScaler

        x = self.features(store, bags, train, test)
        y, endpoint = bag_targets(bags, train), bag_endpoint(bags)
        return ridge_logits(
            [("impute", SimpleImputer(keep_empty_features=True)), ("scale", StandardScaler())],
            x[: len(train)],
            y,
            inner_folds(y, bag_groups(bags, train), seed, endpoint),
            x[len(train) :],
            endpoint,
        )

    def features(
        self, store: CohortStore, bags: Bags, train: IndexArray, test: IndexArray
    ) -> FloatArray:
        """(train and test, f) covariates that any bag of `train` has; NaN where missing."""
        rows = np.concatenate([train, test])
        owners = bag_patients(bags, rows)
        own = covariates(store, bags, self.columns).iloc[rows]
        parts = [
            _features(
                # a column of words has the levels of the training patients
                store.patients[name].iloc[owners] if name in store.patients else own[name],
                len(train),
            )
            for name in self.columns
        ]
        x = np.hstack([np.empty((len(rows), 0)), *parts])
        known: FloatArray = x[:, np.isfinite(x[: len(train)]).any(axis=0)]
        return known


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
