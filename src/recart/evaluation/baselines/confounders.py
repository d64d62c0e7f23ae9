"""Baselines without biology: what the measurement alone gives away about the label."""

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
from recart.evaluation.baselines.ridge import inner_folds, ridge_logits
from recart.evaluation.predictions import FloatArray

__all__ = ["DESIGN_COLUMNS", "BatchOnly", "QualityOnly", "design_levels", "design_table"]

DESIGN_COLUMNS = ("batch", "site", "product")


@final
class QualityOnly(Baseline):
    """Cells, depth, genes, mitochondrial share and receptor share of a bag, ridge logistic.

    Above chance, it says that responders' samples were handled or filtered otherwise.
    """

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return "quality only"

    def fit_predict(
        self, store: CohortStore, bags: Bags, train: IndexArray, test: IndexArray, seed: int
    ) -> FoldLogits:
        """Logits of the bags `test`; see `Baseline.fit_predict`."""
        from sklearn.impute import SimpleImputer
        from sklearn.preprocessing import StandardScaler

        x = np.stack([_quality(store.cells.iloc[bags.cells([bag])]) for bag in [*train, *test]])
        x_train = x[: len(train)]
        seen = np.isfinite(x_train).any(axis=0)
        y, endpoint = bag_targets(bags, train), bag_endpoint(bags)
        return ridge_logits(
            [("impute", SimpleImputer(keep_empty_features=True)), ("scale", StandardScaler())],
            x_train[:, seen],
            y,
            inner_folds(y, bag_groups(bags, train), seed, endpoint),
            x[len(train) :, seen],
            endpoint,
        )


@final
class BatchOnly(Baseline):
    """Batch, site and product of a bag's samples, ridge logistic. Sees no cell.

    Above chance, it says that the cohort's design and its labels are entangled.
    """

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return "batch only"

    def fit_predict(
        self, store: CohortStore, bags: Bags, train: IndexArray, test: IndexArray, seed: int
    ) -> FoldLogits:
        """Logits of the bags `test`; see `Baseline.fit_predict`.

        A level that no training bag has is no feature.
        """
        from sklearn.preprocessing import StandardScaler

        shares = design_levels(store, bags, np.concatenate([train, test]))
        x = shares.to_numpy(dtype=float)
        x = x[:, np.ptp(x[: len(train)], axis=0) > 0] if x.size else x
        y, endpoint = bag_targets(bags, train), bag_endpoint(bags)
        return ridge_logits(
            [("scale", StandardScaler())],
            x[: len(train)],
            y,
            inner_folds(y, bag_groups(bags, train), seed, endpoint),
            x[len(train) :],
            endpoint,
        )


def design_levels(store: CohortStore, bags: Bags, which: IndexArray) -> pd.DataFrame:
    """(which, level) share of a bag's samples at each level of batch, site and product."""
    design = design_table(store)
    if design.empty:
        return pd.DataFrame(index=bags.table.index[which])
    levels = pd.get_dummies(design, dtype=float)
    sample = store.cells["sample"].to_numpy()
    shares = [levels.iloc[np.unique(sample[bags.cells([bag])])].mean().to_numpy() for bag in which]
    return pd.DataFrame(shares, index=bags.table.index[which], columns=levels.columns)


def design_table(store: CohortStore) -> pd.DataFrame:
    """(sample) batch, site and product, as far as given: the sample's own, else its patient's."""
    owner, found = store.samples["patient"].to_numpy(), {}
    for column in DESIGN_COLUMNS:
        of_both = [
            table[column].astype("object").iloc[rows].set_axis(store.samples.index)
            for table, rows in (
                (store.samples, np.arange(len(owner))),
                (store.patients, owner),
            )
            if column in table
        ]
        if of_both:
            found[column] = of_both[0].where(of_both[0].notna(), of_both[-1])
    return pd.DataFrame(found, index=store.samples.index)


def _quality(cells: pd.DataFrame) -> FloatArray:
    """(f) features of one bag; NaN where the cohort does not say."""

    def median(column: str) -> float:
        known = cells[column].dropna() if column in cells.columns else ()
        return float(np.median(known)) if len(known) else np.nan

    receptor = float((cells["clone"] >= 0).mean()) if "clone" in cells.columns else np.nan
    return np.array(
        [
            np.log1p(len(cells)),
            np.log1p(median("n_counts")),
            np.log1p(median("n_genes")),
            median("pct_mito"),
            receptor,
        ]
    )
