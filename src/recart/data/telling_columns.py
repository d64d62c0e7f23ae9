"""Columns that tell the classes apart by their values, hardly by chance: the endpoint's twins."""

from __future__ import annotations

from dataclasses import replace
from math import comb
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.bags import Bags

__all__ = ["by_class", "tells_the_class"]

# a covariate that tells the classes apart by its values is suspect below this probability
_CHANCE: Final = 1e-3


def by_class(bags: Bags) -> list[Bags]:
    """Bags whose label is their class, 0 or 1: once for each part of an outcome."""
    if bags.outcome is None:
        return [bags]
    classes = bags.outcome.classes_by_part(bags.table)
    return [replace(bags, table=bags.table.assign(label=own)) for own in classes.values()]


def tells_the_class(values: pd.Series[Any], bags: Bags) -> bool:
    """Whether each value, or its being missing, belongs to one class, hardly by chance.

    `values` (p) are those of the patients, and labels the classes 0 and 1. A covariate is refused
    by it; nothing is chosen or fitted by it.
    """
    labelled = bags.table.loc[bags.table["label"] >= 0, ["patient", "label"]].drop_duplicates()
    own = values.iloc[labelled["patient"].to_numpy()]
    label, known = labelled["label"].to_numpy(), own.notna().to_numpy()
    value = np.where(known, own.astype("object").astype(str), "missing")
    return _one_class_each(value[known], label[known]) or _one_class_each(value, label)


def _one_class_each(value: np.ndarray, label: np.ndarray) -> bool:
    classes = pd.crosstab(value, label)
    if classes.shape[1] < 2 or (classes > 0).all(axis=1).any():
        return False
    positives = int((label == label.max()).sum())
    # in how many ways the values could make up the positive patients, of all ways there are
    ways = np.zeros(positives + 1)
    ways[0] = 1.0
    for size in classes.sum(axis=1):
        if size <= positives:
            ways[size:] = ways[size:] + ways[:-size]
    return bool(ways[positives] / comb(len(label), positives) < _CHANCE)
