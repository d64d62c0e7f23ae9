"""What rules of refusal are about: facts of each new bag, by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from recart.data.bags import Bags
from recart.data.features import BoundFeatures
from recart.data.stages import sample_words
from recart.data.store import CohortStore

__all__ = ["car_positive", "kinds_of_sample", "of_the_data"]

Array = np.ndarray[Any, np.dtype[Any]]

_KINDS = ("timepoint", "tissue")


def kinds_of_sample(store: CohortStore, bags: Bags) -> dict[str, list[str]]:
    """Time points and tissues of the cells of bags; only of columns that the samples have."""
    samples = np.unique(store.cells["sample"].to_numpy()[bags.cells(range(len(bags)))])
    return {
        name: sorted({str(word) for word in np.asarray(sample_words(store.samples, name))[samples]})
        for name in _KINDS
        if name in store.samples
    }


def car_positive(store: CohortStore, bags: Bags) -> Array | None:
    """(n) share of cells that show the CAR transgene; None where the cohort has no such gene."""
    if "car_umi" not in store.cells:
        return None
    positive = store.cells["car_umi"].to_numpy() > 0
    return np.array([positive[bags.cells([n])].mean() for n in range(len(bags))])


def of_the_data(
    bound: BoundFeatures,
    store: CohortStore,
    bags: Bags,
    known: dict[str, list[str]],
    most_car: float | None,
) -> list[dict[str, float]]:
    """Facts of each bag that the data tell alone.

    `known` are time points and tissues by column, as `kinds_of_sample` gave them for the training
    cohort; a column that the new samples lack is not asked for. `most_car` is the largest share of
    CAR-positive cells of a training bag, None where that was not known.
    """
    unknown = np.zeros(len(store.samples), dtype=bool)
    for name, words in known.items():
        if name in store.samples:
            unknown |= ~np.isin(np.asarray(sample_words(store.samples, name), dtype=str), words)
    place = bound.proteins[bound.features.protein_seen]
    measured = np.zeros((len(store.samples), len(place)), dtype=bool)
    if store.protein_measured.shape[1]:
        measured = store.protein_measured[:, place] & (place >= 0)
    lacking = 1 - measured.mean(axis=1) if len(place) else np.zeros(len(store.samples))
    sample = store.cells["sample"].to_numpy()
    car = None if most_car is None else car_positive(store, bags)
    found = []
    for n in range(len(bags)):
        of_cells = sample[bags.cells([n])]
        if car is not None and most_car is not None:
            above = (car[n] - most_car) * len(of_cells) / np.sqrt(most_car * len(of_cells) + 1)
        found.append(
            {
                "cells": float(len(of_cells)),
                "genes_missing": float(np.mean(bound.genes < 0)),
                "proteins_missing": float(lacking[of_cells].mean()),
                "unknown_time_or_tissue": float(unknown[of_cells].mean()),
                "car_positive": np.nan if car is None else float(above),
            }
        )
    return found
