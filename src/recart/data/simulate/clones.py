"""Clones: which cells descend from one, and how large clones are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.simulate.latents import PatientLatents
from recart.data.simulate.populations import members_of
from recart.data.simulate.streams import stream

__all__ = ["CellClones", "assign_clones"]

Codes = np.ndarray[Any, np.dtype[np.int32]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

# Clones by rank r have frequency r^-exponent within the pool. Pools and exponents are chosen so
# that 1,000 to 3,000 T cells of blood before infusion give Shannon indices of 4 to 6.5, 2 to 65 %
# of cells in clones above four cells and 22 to 86 % in single ones (Nature Cancer 2024, ten
# patients).
# (populations, number of clones, mean exponent, its spread between patients)
_POOLS: Final = {
    "effector": ("CD8 TEM, CD8 Proliferating, CD4 CTL, CD8 TEM rare", 3000, 1.1, 0.25),
    "memory": ("CD8 TCM, CD4 TCM, CD4 TEM, mait, treg, dnT", 8000, 0.65, 0.15),
    "car": ("CAR T", 2000, 0.95, 0.0),
    "plasma": ("Plasma cells", 50, 3.0, 0.5),
    "bmemory": ("bmemory", 5000, 0.5, 0.1),
}
# Every cell of these has a receptor of its own.
_UNIQUE: Final = "naive, bnaive"
# CAR T clones: exponent per standard deviation of the patient's expansion. One patient of the
# study had two clones of 1,687 and 835 CAR T cells, others none above a few per cent.
_EXPANSION: Final = 0.3


@dataclass(frozen=True)
class CellClones:
    """The clone of each cell.

    Attributes
    ----------
    of_cell
        (cells,) number of the clone, -1 for cells without a receptor of T or B cells.
    table
        Index: clone. Columns `patient` (row of the patient table), `locus` (`TR` or `IG`),
        `invariant` (semi-invariant MAIT receptor), `n_cells`, and `n_car` (its CAR T cells).
    """

    of_cell: Codes
    table: pd.DataFrame


def assign_clones(
    patient: Codes, population: Codes, latents: PatientLatents, seed: int
) -> CellClones:
    """Draw the clone of each cell from its patient's pools; `patient` is the row of the patient.

    The pools are the patient's: clones persist from sample to sample. CAR T clones are made from
    effector and memory cells, and half of their receptors are found in those as well.
    """
    n_pools = len(_POOLS)
    pool = np.full(population.size, -1, dtype=np.int64)
    for i, (who, *_) in enumerate(_POOLS.values()):
        pool[np.isin(population, members_of(who))] = i
    rank = _draw_ranks(pool, patient, latents, seed)
    pool, rank = _share_car_clones(pool, rank, patient, seed)

    unique = np.isin(population, members_of(_UNIQUE))
    pool[unique] = n_pools
    rank[unique] = np.arange(int(unique.sum()))
    held = np.flatnonzero(pool >= 0)
    mait = np.isin(population, members_of("mait"))
    b_cell = np.isin(population, members_of("b, plasma"))
    key = pd.DataFrame(
        {
            "patient": patient[held],
            "pool": pool[held],
            "mait": mait[held],
            "b": b_cell[held],
            "rank": rank[held],
        }
    )
    grouped = key.groupby(list(key.columns), sort=True)
    of_cell = np.full(population.size, -1, dtype=np.int32)
    of_cell[held] = grouped.ngroup().to_numpy()
    first = grouped.head(1).sort_values(list(key.columns))
    car = np.isin(population[held], members_of("car"))
    table = pd.DataFrame(
        {
            "patient": first["patient"].to_numpy(),
            "locus": np.where(first["b"], "IG", "TR"),
            "invariant": first["mait"].to_numpy(),
            "n_cells": np.bincount(of_cell[held], minlength=len(first)),
            "n_car": np.bincount(of_cell[held][car], minlength=len(first)),
        }
    )
    return CellClones(of_cell, table)


def _draw_ranks(
    pool: np.ndarray[Any, np.dtype[np.int64]],
    patient: Codes,
    latents: PatientLatents,
    seed: int,
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(cells,) rank of the clone in the pool of the cell's patient."""
    n_patients = len(latents.values)
    expansion = latents.values["clonal_expansion"].to_numpy()
    uniform = stream(seed, "clones").random(pool.size)
    rank = np.zeros(pool.size, dtype=np.int64)
    for i, (name, (_, size, centre, spread)) in enumerate(_POOLS.items()):
        exponent = centre + spread * stream(seed, "pools", i).standard_normal(n_patients)
        if name == "car":
            exponent = exponent + _EXPANSION * expansion
        inside = np.flatnonzero(pool == i)
        order = inside[np.argsort(patient[inside], kind="stable")]
        ends = np.cumsum(np.bincount(patient[inside], minlength=n_patients))
        log_rank = np.log(np.arange(1, size + 1))
        for p, rows in enumerate(np.split(order, ends[:-1])):
            if rows.size:
                reached = np.cumsum(np.exp(-exponent[p] * log_rank))
                rank[rows] = np.searchsorted(reached[:-1], uniform[rows] * reached[-1], "right")
    return rank


def _share_car_clones(
    pool: np.ndarray[Any, np.dtype[np.int64]],
    rank: np.ndarray[Any, np.dtype[np.int64]],
    patient: Codes,
    seed: int,
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]:
    """Give every other CAR T clone the receptor of a clone of the effector pool."""
    names = list(_POOLS)
    size = _POOLS["effector"][1]
    parents = stream(seed, "parents of CAR T clones").permutation(size)
    shared = (pool == names.index("car")) & (rank % 2 == 0)
    # Another parent for each patient, the same in all of the patient's samples.
    parent = parents[(rank + 7919 * patient.astype(np.int64)) % size]
    return np.where(shared, names.index("effector"), pool), np.where(shared, parent, rank)
