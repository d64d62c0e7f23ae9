"""Other labels for some bags, written where the cohort has its endpoint: all else follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from recart.data.bags import with_blocks
from recart.data.checks import resolve_labels
from recart.data.split import Split
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
    blocks
        Number of the block of each patient (pseudonym), where the split has blocks. The numbers
        stay what they are when patients leave the cohort.
    """

    data: Any
    values: tuple[object, object]
    blocks: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, store: CohortStore, data: Any, split: Split | None = None) -> Outcome:
        """Find a value of each class, and the blocks of a split of this cohort."""
        table = next(own for own in (store.patients, store.samples) if data.endpoint in own)
        column = table[data.endpoint]
        labels = resolve_labels(column, data.positive, data.negative, list(data.exclude))
        first = [column.to_numpy(dtype=object)[np.flatnonzero(labels == y)[0]] for y in (0, 1)]
        blocks: dict[str, int] = {}
        if split is not None:
            numbers = split.block_of(np.arange(len(store.patients)))
            blocks = dict(zip(store.patients.index, map(int, numbers), strict=True))
        return cls(data=data, values=(first[0], first[1]), blocks=blocks)

    def bags(self, store: CohortStore) -> PreparedCohort:
        """The store's bags, made by the way that a run makes them."""
        cohort = with_bags(store, "", self.data)
        if not self.blocks:
            return cohort
        number = np.array([self.blocks[name] for name in store.patients.index])
        return replace(cohort, bags=with_blocks(cohort.bags, lambda codes: number[codes]))

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
