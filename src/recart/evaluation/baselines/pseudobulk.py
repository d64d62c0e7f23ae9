"""Pseudobulk: one expression profile a bag, as if the cells had been sequenced in bulk."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np

from recart.data.bags import Bags
from recart.data.rows import pieces, read_rows
from recart.data.store import CohortStore
from recart.evaluation.baselines.baseline import (
    Baseline,
    FoldLogits,
    IndexArray,
    bag_endpoint,
    bag_groups,
    bag_targets,
)
from recart.evaluation.baselines.expression import bag_sums, top_variance
from recart.evaluation.baselines.ridge import inner_folds, ridge_logits
from recart.evaluation.predictions import FloatArray

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer

__all__ = ["PseudobulkPCA", "protein_means"]


@final
class PseudobulkPCA(Baseline):
    """Log counts per million of summed cells, principal components, ridge logistic.

    Parameters
    ----------
    components
        Principal components kept, at most.
    genes
        Genes of largest variance over the training bags.
    proteins
        Append the mean log1p of each surface protein, where the cohort has any.

    Notes
    -----
    Genes are chosen on all training bags, without labels; scaling and components are fitted anew in
    every inner fold. Already normalised expression is averaged instead of summed.
    """

    def __init__(self, components: int = 20, genes: int = 2000, proteins: bool = True) -> None:
        self.components = components
        self.genes = genes
        self.proteins = proteins

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return "pseudobulk"

    def fit_predict(
        self, store: CohortStore, bags: Bags, train: IndexArray, test: IndexArray, seed: int
    ) -> FoldLogits:
        """Logits of the bags `test`; see `Baseline.fit_predict`."""
        which = np.concatenate([train, test])
        rna = _profiles(store, bags, which)
        rna = rna[:, top_variance(rna[: len(train)], self.genes)]
        x = [rna]
        if self.proteins and store.protein is not None:
            protein = protein_means(store, bags, which)
            seen = np.isfinite(protein[: len(train)]).any(axis=0)
            x.append(protein[:, seen])
        y, endpoint = bag_targets(bags, train), bag_endpoint(bags)
        folds = inner_folds(y, bag_groups(bags, train), seed, endpoint)
        fewest = min([len(train), *(len(fit) for fit, _ in folds)])
        table = np.hstack(x)
        return ridge_logits(
            [("features", self._features(rna.shape[1], table.shape[1], fewest, seed))],
            table[: len(train)],
            y,
            folds,
            table[len(train) :],
            endpoint,
        )

    def _features(self, n_genes: int, n_columns: int, fewest: int, seed: int) -> ColumnTransformer:
        """Components of the genes beside the proteins, each fitted on the bags it is given."""
        from sklearn.compose import ColumnTransformer
        from sklearn.decomposition import PCA
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        parts = []
        if n_genes:
            pca = PCA(max(1, min(self.components, n_genes, fewest - 1)), random_state=seed)
            parts.append(("rna", make_pipeline(StandardScaler(), pca), slice(0, n_genes)))
        if n_columns > n_genes:
            # a protein that no bag of an inner fold has stays in the table as a constant
            impute = SimpleImputer(keep_empty_features=True)
            of_protein = make_pipeline(impute, StandardScaler())
            parts.append(("protein", of_protein, slice(n_genes, n_columns)))
        return ColumnTransformer(parts)


def _profiles(store: CohortStore, bags: Bags, which: IndexArray) -> FloatArray:
    """(which, g) log1p counts per million of the summed cells; means where normalised."""
    sums = bag_sums(store, bags, which)
    if store.normalised:
        cells = np.array([len(bags.cells([bag])) for bag in which])
        means: FloatArray = sums / np.maximum(cells, 1)[:, None]
        return means
    total = sums.sum(axis=1, keepdims=True)
    scaled = np.divide(1e6 * sums, total, out=np.zeros_like(sums), where=total > 0)
    logs: FloatArray = np.log1p(scaled)
    return logs


def protein_means(store: CohortStore, bags: Bags, which: IndexArray) -> FloatArray:
    """(which, a) mean log1p of raw protein counts over the cells it was measured on, else NaN."""
    means = np.full((len(which), len(store.proteins)), np.nan)
    if store.protein is None:
        return means
    sample = store.cells["sample"].to_numpy()
    for row, bag in enumerate(which):
        sums, cells = np.zeros((2, len(store.proteins)))
        for part in pieces(bags.cells([bag])):
            measured = store.protein_measured[sample[part]]
            logs = np.log1p(read_rows(store.protein, part)) * measured
            sums += logs.sum(axis=0, dtype=float)
            cells += measured.sum(axis=0)
        np.divide(sums, cells, out=means[row], where=cells > 0)
    return means
