"""Composition and clinical covariates together: what a head that reads both must be better than."""

from __future__ import annotations

from typing import final

import numpy as np

from recart.data.bags import Bags
from recart.data.store import CohortStore
from recart.evaluation.baselines.baseline import (
    Baseline,
    FoldLogits,
    IndexArray,
    bag_endpoint,
    bag_groups,
    bag_targets,
)
from recart.evaluation.baselines.clinical import ClinicalOnly
from recart.evaluation.baselines.composition import Composition
from recart.evaluation.baselines.ridge import inner_folds, ridge_logits

__all__ = ["CompositionWithClinical"]


@final
class CompositionWithClinical(Baseline):
    """The features of both in one ridge logistic regression.

    The head reads covariates beside cells; against a baseline that reads one of them it could win
    by the combination alone.

    Parameters
    ----------
    composition, clinical
        The two. Where the cohort has no covariates this one is left out, too.
    """

    def __init__(self, composition: Composition, clinical: ClinicalOnly) -> None:
        self.composition = composition
        self.clinical = clinical

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return f"{self.composition.name} + clinical"

    def lacking(self, store: CohortStore, bags: Bags) -> str:
        """Why there are no covariates; empty where there are."""
        return self.clinical.lacking(store, bags)

    def fit_predict(
        self, store: CohortStore, bags: Bags, train: IndexArray, test: IndexArray, seed: int
    ) -> FoldLogits:
        """Logits of the bags `test`; see `Baseline.fit_predict`."""
        from sklearn.impute import SimpleImputer
        from sklearn.preprocessing import StandardScaler

        x = np.hstack(
            [
                self.composition.features(store, bags, train, test, seed),
                self.clinical.features(store, bags, train, test),
            ]
        )
        y, endpoint = bag_targets(bags, train), bag_endpoint(bags)
        return ridge_logits(
            [("impute", SimpleImputer(keep_empty_features=True)), ("scale", StandardScaler())],
            x[: len(train)],
            y,
            inner_folds(y, bag_groups(bags, train), seed, endpoint),
            x[len(train) :],
            endpoint,
        )
