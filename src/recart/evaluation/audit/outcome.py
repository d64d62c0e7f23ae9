"""Other labels for some bags, written where the cohort has its endpoint: all else follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from recart.data.checks import resolve_labels
from recart.data.store import CohortStore
from recart.training.cohort_setup import PreparedCohort, with_bags

__all__ = ["Outcome"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The endpoint of a cohort as its configuration describes it.

    Attributes
    ----------
    data
        The part `data` of the configuration.
    values
        A value of the endpoint for class 0 and one for class 1, as they stand in the tables.
    """

    data: Any
    values: tuple[object, object]

    @classmethod
    def of(cls, store: CohortStore, data: Any) -> Outcome:
        """Find a value of each class."""
        table = next(own for own in (store.patients, store.samples) if data.endpoint in own)
        column = table[data.endpoint]
        labels = resolve_labels(column, data.positive, data.negative, list(data.exclude))
        first = [column.to_numpy(dtype=object)[np.flatnonzero(labels == y)[0]] for y in (0, 1)]
        return cls(data=data, values=(first[0], first[1]))

    def bags(self, store: CohortStore, key: str) -> PreparedCohort:
        """The store's bags, made by the way that a run makes them."""
        return with_bags(store, key, self.data)

    def relabelled(self, store: CohortStore, labels: Mapping[str, int]) -> CohortStore:
        """The store with the endpoint of these bags (by pseudonym) set to class 0 or 1."""
        changed: dict[str, Any] = {}
        column, by_patient = self.data.endpoint, self.data.unit == "patient"
        if column in store.patients:
            if by_patient:
                new = dict(labels)
            else:
                owner = store.patients.index[store.samples["patient"]]
                of_sample = dict(zip(store.samples.index, owner, strict=True))
                new = {of_sample[bag]: label for bag, label in labels.items()}
            changed["patients"] = self._written(store.patients, store.patients.index, new)
        if column in store.samples:
            owner = store.patients.index[store.samples["patient"]]
            names = owner if by_patient else store.samples.index
            changed["samples"] = self._written(store.samples, names, dict(labels))
        return replace(store, **changed)

    def _written(
        self, table: pd.DataFrame, names: pd.Index[str], labels: Mapping[str, int]
    ) -> pd.DataFrame:
        column = table[self.data.endpoint].to_numpy(dtype=object).copy()
        for row, name in enumerate(names):
            if name in labels:
                column[row] = self.values[labels[name]]
        return table.assign(**{self.data.endpoint: column})
