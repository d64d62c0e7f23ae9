"""Composition: how a bag's cells divide over cell types, and nothing else."""

from __future__ import annotations

from typing import final

import numpy as np
import pandas as pd

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
from recart.evaluation.baselines.clusters import CellClusters
from recart.evaluation.baselines.ridge import inner_folds, ridge_logits
from recart.evaluation.predictions import FloatArray
from recart.problems import InputError, Problem

__all__ = ["Composition"]

# cells added to each type before the logarithm
_PSEUDOCOUNT = 0.5


@final
class Composition(Baseline):
    """Centred log-ratio of cell-type fractions, ridge logistic.

    Parameters
    ----------
    given_types
        Take the cohort's own `cell_type` column. Given types may have been called on all patients
        together, which is why they are not the default.
    clusters, components, genes, cells_per_bag
        Of the clusters where types are not given; see
        `recart.evaluation.baselines.clusters.CellClusters`.
    """

    def __init__(
        self,
        given_types: bool = False,
        clusters: int = 20,
        components: int = 20,
        genes: int = 1000,
        cells_per_bag: int = 500,
    ) -> None:
        self.given_types = given_types
        self.recipe = CellClusters(clusters, components, genes, cells_per_bag)

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return "cell types given" if self.given_types else "composition"

    def fit_predict(
        self, store: CohortStore, bags: Bags, train: IndexArray, test: IndexArray, seed: int
    ) -> FoldLogits:
        """Logits of the bags `test`; see `Baseline.fit_predict`."""
        from sklearn.preprocessing import StandardScaler

        x = self.features(store, bags, train, test, seed)
        y, endpoint = bag_targets(bags, train), bag_endpoint(bags)
        return ridge_logits(
            [("scale", StandardScaler())],
            x[: len(train)],
            y,
            inner_folds(y, bag_groups(bags, train), seed, endpoint),
            x[len(train) :],
            endpoint,
        )

    def features(
        self, store: CohortStore, bags: Bags, train: IndexArray, test: IndexArray, seed: int
    ) -> FloatArray:
        """(train and test, type) centred log-ratios; types are those of the bags `train`."""
        counts = (
            self._count_given(store, bags, train, test)
            if self.given_types
            else self.recipe.of_bags(store, bags, train, test, seed).counts
        )
        return _centred_log_ratio(counts)

    def _count_given(
        self, store: CohortStore, bags: Bags, train: IndexArray, test: IndexArray
    ) -> FloatArray:
        if "cell_type" not in store.cells.columns:
            raise InputError(
                [
                    Problem(
                        code="E-EVAL-013",
                        what="the cohort has no cell types for the composition baseline",
                        mend="set baselines.composition.given_types=false, or name the column",
                        column="cell_type",
                    )
                ]
            )
        types = store.cells["cell_type"].astype(str).to_numpy()
        seen = np.unique(np.concatenate([types[bags.cells([bag])] for bag in train]))
        codes = pd.Categorical(types, categories=seen).codes
        return np.stack(
            [_count(codes[bags.cells([bag])], len(seen)) for bag in np.concatenate([train, test])]
        )


def _count(codes: np.ndarray, kinds: int) -> FloatArray:
    """Cells of each kind; code -1 is a type that no training cell has, and is not counted."""
    return np.bincount(codes[codes >= 0], minlength=kinds).astype(float)


def _centred_log_ratio(counts: FloatArray) -> FloatArray:
    """Aitchison's centred log-ratio of counts with a pseudocount, per bag."""
    logs = np.log(counts + _PSEUDOCOUNT)
    centred: FloatArray = logs - logs.mean(axis=1, keepdims=True)
    return centred
