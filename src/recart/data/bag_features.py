"""What is known of each bag besides its cells' states: its clones, and its covariates."""

from __future__ import annotations

import pandas as pd

from recart.data.bags import Bags
from recart.data.clone_features import CLONE_FEATURES, clone_features
from recart.data.covariates import covariates
from recart.data.store import CohortStore

__all__ = ["bag_features", "feature_group"]


def bag_features(store: CohortStore, bags: Bags) -> pd.DataFrame:
    """(n, f) clone features, then the covariates that `bags.reading` names; NaN where missing."""
    own = covariates(store, bags, bags.reading.covariates)
    return pd.concat([clone_features(store, bags), own], axis=1)


def feature_group(name: str) -> str:
    """Group of a bag feature, which a head gives a strength of its own: clones, or covariates."""
    return "clones" if name in CLONE_FEATURES else "covariates"
