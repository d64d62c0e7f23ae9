"""Receptors that two patients share: V, J and CDR3 of both chains, to the letter."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.store import CohortStore

__all__ = ["SharedClones", "shared_clones"]

# A receptor of this many patients or more is one that many people make.
_PUBLIC: Final = 4


@dataclass(frozen=True, kw_only=True)
class SharedClones:
    """Shared receptors of all pairs of patients that have receptors.

    Attributes
    ----------
    pairs
        One row a pair: `one`, `other` (codes), `shared` receptors, `jaccard`, and `overlap`, the
        share of the smaller of both repertoires.
    compared
        Patients with receptors to compare.
    set_aside
        Receptors left out, by reason.
    """

    pairs: pd.DataFrame
    compared: int
    set_aside: dict[str, int]


def shared_clones(store: CohortStore) -> SharedClones | None:
    """Compare the repertoires of all pairs; None where the store knows no receptors.

    Only receptors with both chains count: a chain alone is made by many people. Those of MAIT and
    iNKT cells are set aside, and public ones, which at least four patients have.
    """
    if store.clones is None:
        return None
    clones = store.clones
    table = pd.DataFrame({"patient": clones["patient"].to_numpy(), "name": _names(store)})
    paired = (clones["has_alpha"] & clones["has_beta"]).to_numpy(dtype=bool)
    known = (table["name"] != "").to_numpy()
    if not known.any():
        return None
    invariant = _flag(clones, "invariant")
    use = table[known & paired & ~invariant].drop_duplicates()
    owners = use.groupby("name")["patient"].transform("size")
    private = use[owners < _PUBLIC]
    set_aside = {
        "one chain only": int((known & ~paired).sum()),
        "of MAIT or iNKT cells": int((known & paired & invariant).sum()),
        "public": int(use.loc[owners >= _PUBLIC, "name"].nunique()),
    }
    sizes = private["patient"].value_counts()
    shared = _count_shared(private)
    rows = []
    for one, other in combinations(sorted(int(p) for p in sizes.index), 2):
        both = shared.get((one, other), 0)
        smaller, larger = sorted((int(sizes[one]), int(sizes[other])))
        rows.append((one, other, both, both / (smaller + larger - both), both / smaller))
    columns = ["one", "other", "shared", "jaccard", "overlap"]
    pairs = pd.DataFrame(rows, columns=columns)
    return SharedClones(pairs=pairs, compared=len(sizes), set_aside=set_aside)


def _count_shared(private: pd.DataFrame) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    several = private[private.duplicated("name", keep=False)]
    for _, owners in several.groupby("name")["patient"]:
        for pair in combinations(sorted(int(p) for p in owners), 2):
            found[pair] = found.get(pair, 0) + 1
    return found


def _names(store: CohortStore) -> list[str]:
    """What stands for each receptor; its embedding where the store is older than the names.

    An embedding is the same for the same sequence, and need not know the J gene.
    """
    if store.clones is None:
        return []
    if "receptor" in store.clones:
        return [str(name) for name in store.clones["receptor"]]
    if store.receptor is None or not store.receptor.shape[1]:
        return [""] * len(store.clones)
    known = store.clones["known"].to_numpy(dtype=bool)
    vectors = np.ascontiguousarray(store.receptor)
    return [row.tobytes().hex() if own else "" for row, own in zip(vectors, known, strict=True)]


def _flag(clones: pd.DataFrame, column: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if column not in clones:
        return np.zeros(len(clones), dtype=np.bool_)
    return clones[column].to_numpy(dtype=np.bool_)
