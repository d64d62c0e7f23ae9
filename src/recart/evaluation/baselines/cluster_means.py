"""Cluster means: how the cells of each cluster look on average, whatever their number."""

from __future__ import annotations

from typing import final

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

__all__ = ["ClusterMeans"]


@final
class ClusterMeans(Baseline):
    """Mean expression of the cells of each cluster, in components, ridge logistic.

    Parameters
    ----------
    clusters, components, genes, cells_per_bag
        See `recart.evaluation.baselines.clusters.CellClusters`.
    shrinkage
        A bag's mean is drawn towards the cluster's centre as if so many cells lay on it: a cluster
        of which the bag has no cell says nothing.
    """

    def __init__(
        self,
        clusters: int = 20,
        components: int = 20,
        genes: int = 1000,
        cells_per_bag: int = 500,
        shrinkage: float = 5.0,
    ) -> None:
        self.recipe = CellClusters(clusters, components, genes, cells_per_bag)
        self.shrinkage = shrinkage

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return "cluster means"

    def fit_predict(
        self, store: CohortStore, bags: Bags, train: IndexArray, test: IndexArray, seed: int
    ) -> FoldLogits:
        """Logits of the bags `test`; see `Baseline.fit_predict`."""
        from sklearn.preprocessing import StandardScaler

        found = self.recipe.of_bags(store, bags, train, test, seed)
        centred = found.sums - found.counts[:, :, None] * found.centres
        means = centred / (found.counts + self.shrinkage)[:, :, None]
        x = means.reshape(len(means), -1)
        y, endpoint = bag_targets(bags, train), bag_endpoint(bags)
        return ridge_logits(
            [("scale", StandardScaler())],
            x[: len(train)],
            y,
            inner_folds(y, bag_groups(bags, train), seed, endpoint),
            x[len(train) :],
            endpoint,
        )
