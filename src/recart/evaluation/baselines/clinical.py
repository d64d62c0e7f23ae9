"""Clinical covariates alone: what is known of a patient without sequencing a cell."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import final

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.store import CohortStore
from recart.evaluation.baselines.baseline import (
    Baseline,
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

# a covariate that tells the classes apart by its values is suspect below this probability
_CHANCE = 1e-3


@final
class ClinicalOnly(Baseline):
    """The patient table's covariates that the configuration names, ridge logistic.

    Parameters
    ----------
    columns
        Columns of the patient table, such as age or tumour burden, known when the prediction is
        made. Without any the baseline is left out, and the report says so.
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
        for column in self.columns:
            if column not in store.patients:
                problems.error(
                    Problem(
                        code="E-EVAL-015",
                        column=column,
                        what="the patient table has no such covariate",
                        mend="name columns of the patient table in baselines.clinical.columns",
                    )
                )
            elif column == self.endpoint or _tells_the_class(store.patients[column], bags):
                own = "is the endpoint" if column == self.endpoint else "gives the endpoint away"
                problems.error(
                    Problem(
                        code="E-EVAL-022",
                        column=column,
                        what=f"the covariate {own}: a model that reads it predicts nothing",
                        mend="take it out of baselines.clinical.columns, where only what is known "
                        "at the decision may stand",
                    )
                )
        problems.raise_if_any()
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
        y, endpoint = bag_targets(bags, train), bag_endpoint(bags)
        return ridge_logits(
            [("impute", SimpleImputer(keep_empty_features=True)), ("scale", StandardScaler())],
            x[: len(train), seen],
            y,
            inner_folds(y, bag_groups(bags, train), seed, endpoint),
            x[len(train) :, seen],
            endpoint,
        )


def _tells_the_class(values: pd.Series, bags: Bags) -> bool:
    """Whether each value, or its being missing, belongs to one class, hardly by chance."""
    labelled = bags.table.loc[bags.table["label"] >= 0, ["patient", "label"]].drop_duplicates()
    own = values.iloc[labelled["patient"].to_numpy()]
    label, known = labelled["label"].to_numpy(), own.notna().to_numpy()
    value = np.where(known, own.astype("object").astype(str), "missing")
    return _one_class_each(value[known], label[known]) or _one_class_each(value, label)


def _one_class_each(value: np.ndarray, label: np.ndarray) -> bool:
    classes = pd.crosstab(value, label)
    if classes.shape[1] < 2 or (classes > 0).all(axis=1).any():
        return False
    positives = int(classes[1].sum())
    # in how many ways the values could make up the positive patients, of all ways there are
    ways = np.zeros(positives + 1)
    ways[0] = 1.0
    for size in classes.sum(axis=1):
        if size <= positives:
            ways[size:] = ways[size:] + ways[:-size]
    return bool(ways[positives] / comb(len(label), positives) < _CHANCE)


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
