"""Cells that two patients share: the same counts, or the same but for a few of them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.rows import pieces, read_rows
from recart.data.store import CohortStore

__all__ = ["comparable", "duplicate_cells"]

Array = np.ndarray[Any, Any]

# Genes with a count that a part of a cell's genes must hold: parts with fewer agree by chance.
_PART: Final = 12
_MOST_PARTS: Final = 16
# A group of this many cells with one print is a kind of empty droplet and no cell of somebody.
_CROWD: Final = 20
# Of proteins alone: cells alike in so many patients are no cells of somebody, and two patients
# share this part of the smaller one's, or it is chance, which a small panel brings about.
_COMMON: Final = 4
_SHARED: Final = 0.25


def comparable(store: CohortStore) -> bool:
    """Whether the cells hold enough to tell a duplicate from chance."""
    return len(_usable(store)) >= 2 or store.protein is not None


def duplicate_cells(store: CohortStore) -> dict[tuple[int, int], int]:
    """Number of duplicated cells of each pair of patients (codes, ascending) that has any.

    Genes are dealt into up to 16 parts, and a cell has a print of each part: a number that other
    counts do not give. Two cells are duplicates where at least half of their prints are the same,
    so that some changed counts, each of which spoils one print, hide nothing. Cells with too few
    genes for two parts are not compared. Where no cells have more, as without RNA, they are
    compared by all their proteins, and patients who share fewer than a quarter of their cells share
    them by chance.

    Parameters
    ----------
    store
        The cohort. Its RNA, or its proteins, are read once, piece by piece.
    """
    usable = _usable(store)
    if len(usable) < 2:
        return _same_proteins(store)
    n_genes = store.cells["n_genes"].to_numpy()[usable]
    parts = int(np.clip(np.median(n_genes) // _PART, 2, _MOST_PARTS))
    prints, counts = _prints(store, usable, parts)
    patient = store.cells["patient"].to_numpy()[usable]
    agreeing: Counter[tuple[int, int]] = Counter()
    for part in range(parts):
        enough = np.flatnonzero(counts[:, part] >= _PART // 2)
        order = enough[np.argsort(prints[enough, part], kind="stable")]
        values = prints[order, part]
        edges = np.flatnonzero(np.r_[True, values[1:] != values[:-1], True])
        for start, stop in pairwise(edges):
            if not 2 <= stop - start <= _CROWD:
                continue
            own = np.sort(order[start:stop])
            for i, one in enumerate(own):
                for other in own[i + 1 :]:
                    if patient[one] != patient[other]:
                        agreeing[int(one), int(other)] += 1
    pairs: dict[tuple[int, int], set[int]] = {}
    for (one, other), same in agreeing.items():
        if 2 * same >= parts:
            low, high = sorted((int(patient[one]), int(patient[other])))
            pairs.setdefault((low, high), set()).add(one)
    return {pair: len(cells) for pair, cells in pairs.items()}


def _usable(store: CohortStore) -> Array:
    return np.flatnonzero(store.cells["n_genes"].to_numpy() >= 2 * _PART)


def _same_proteins(store: CohortStore) -> dict[tuple[int, int], int]:
    if store.protein is None:
        return {}
    hashed = [
        pd.util.hash_pandas_object(pd.DataFrame(read_rows(store.protein, rows)), index=False)
        for rows in pieces(np.arange(len(store.cells)))
    ]
    cells = pd.DataFrame(
        {"patient": store.cells["patient"].to_numpy(), "print": np.concatenate(hashed)}
    ).drop_duplicates()
    size = cells["patient"].value_counts()
    owners = cells.groupby("print")["patient"].transform("size")
    own = cells[(owners > 1) & (owners < _COMMON)]
    pairs = own.merge(own, on="print").query("patient_x < patient_y")
    shared = pairs.groupby(["patient_x", "patient_y"]).size().reset_index(name="cells")
    return {
        (one, other): cells
        for one, other, cells in shared.to_numpy().tolist()
        if cells >= _SHARED * min(size[one], size[other])
    }


def _prints(store: CohortStore, cells: Array, parts: int) -> tuple[Array, Array]:
    """(c, parts) prints, and how many genes with a count stand behind each."""
    rng = np.random.default_rng(0)
    genes = store.rna.shape[1]
    weights = np.zeros((genes, parts))
    weights[np.arange(genes), rng.permutation(genes) % parts] = rng.standard_normal(genes)
    present = (weights != 0).astype(np.float32)
    prints, counts = [], []
    for rows in pieces(cells):
        rna = read_rows(store.rna, rows)
        # equal rows give bit-equal sums: same values, same order of terms
        prints.append(rna.astype(np.float64) @ weights)
        counts.append((rna > 0).astype(np.float32) @ present)
    return np.concatenate(prints), np.concatenate(counts)
