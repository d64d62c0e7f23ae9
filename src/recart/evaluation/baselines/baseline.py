"""What a baseline is: fitted on the development bags alone, it scores the held-out bags."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from recart.data.bags import Bags
from recart.data.store import CohortStore
from recart.evaluation.predictions import FloatArray
from recart.training.endpoints import Endpoint, SeveralEndpoints, endpoint_of

__all__ = [
    "Baseline",
    "FoldLogits",
    "IndexArray",
    "bag_endpoint",
    "bag_groups",
    "bag_patients",
    "bag_targets",
]

IndexArray = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, kw_only=True)
class FoldLogits:
    """What a baseline says in one fold.

    `held_out` (test) are its logits of the held-out bags; `inner` (train) those of the development
    bags, each from the inner fold that left the bag out, NaN where there are no inner folds.
    """

    held_out: FloatArray
    inner: FloatArray


class Baseline(ABC):
    """A model without an encoder. Nothing of it is fitted on a held-out bag."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in tables and figures."""

    def lacking(self, store: CohortStore, bags: Bags) -> str:  # noqa: ARG002
        """Why this cohort cannot have the baseline; empty where it can."""
        return ""

    @abstractmethod
    def fit_predict(
        self, store: CohortStore, bags: Bags, train: IndexArray, test: IndexArray, seed: int
    ) -> FoldLogits:
        """Fit on the bags `train` and score the bags `test`.

        Parameters
        ----------
        store, bags
            The cohort and its bags.
        train, test
            Row numbers of `bags.table`; `train` holds all development bags, which the baseline
            divides itself where it has something to tune.
        seed
            Seed of everything random.

        Returns
        -------
        The logit of a held-out bag depends on `train` and on its own cells only.
        """


def bag_endpoint(bags: Bags) -> Endpoint:
    """What baselines are fitted to: the endpoint, of several the leading one."""
    endpoint = endpoint_of(bags)
    return endpoint.leading if isinstance(endpoint, SeveralEndpoints) else endpoint


def bag_targets(bags: Bags, which: IndexArray) -> FloatArray:
    """(n) or (n, 2) targets of some bags under `bag_endpoint`."""
    targets: FloatArray = bag_endpoint(bags).targets_of(bags, which).astype(np.float64)
    return targets


def bag_patients(bags: Bags, which: IndexArray) -> IndexArray:
    """Patient codes of some bags."""
    codes: IndexArray = bags.table["patient"].to_numpy(dtype=np.int64)[which]
    return codes


def bag_groups(bags: Bags, which: IndexArray) -> IndexArray:
    """What inner folds keep whole: each bag's patient, or the block that its patients share."""
    groups: IndexArray = np.asarray(bags.groups, dtype=np.int64)[which]
    return groups
