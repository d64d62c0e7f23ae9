"""Expression as the baselines take it: log-normalised cells and sums over bags."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from recart.data.bags import Bags
from recart.data.rows import pieces, read_rows
from recart.data.store import CohortStore
from recart.evaluation.baselines.baseline import IndexArray
from recart.evaluation.predictions import FloatArray

__all__ = ["bag_sums", "cell_profiles", "log_normalised", "top_variance"]

_CELL_TARGET = 1e4


def log_normalised(store: CohortStore, rows: IndexArray) -> sparse.csr_matrix:
    """(rows, g) log1p of counts per 10,000 of some cells; as given where already normalised.

    Each cell is scaled by its own total, so nothing is learned from other cells.
    """
    x = read_rows(store.rna, rows).astype(np.float32)
    if not store.normalised:
        total = np.asarray(x.sum(axis=1)).ravel()
        factor = np.divide(_CELL_TARGET, total, out=np.zeros_like(total), where=total > 0)
        x = sparse.csr_matrix(x.multiply(factor[:, None]))
        x.data = np.log1p(x.data)
    return x


def cell_profiles(store: CohortStore, rows: IndexArray) -> sparse.csr_matrix:
    """(rows, g) `log_normalised`; of a cohort without genes (rows, a) log1p of protein counts.

    A protein that was not measured is 0 there.
    """
    if store.genes or store.protein is None:
        return log_normalised(store, rows)
    return sparse.csr_matrix(np.log1p(read_rows(store.protein, rows).astype(np.float32)))


def top_variance(x: sparse.csr_matrix | FloatArray, n: int) -> IndexArray:
    """Columns of the `n` largest variances above zero, in ascending order of column."""
    if isinstance(x, np.ndarray):
        variance = x.var(axis=0)
    else:
        mean = np.asarray(x.mean(axis=0)).ravel()
        variance = np.asarray(x.multiply(x).mean(axis=0)).ravel() - mean**2
    order = np.argsort(-variance, kind="stable")[:n]
    return np.sort(order[variance[order] > 1e-12])


def bag_sums(store: CohortStore, bags: Bags, which: IndexArray) -> FloatArray:
    """(which, g) sums of the RNA over the cells of some bags, read piece by piece."""
    sums = np.zeros((len(which), store.rna.shape[1]))
    for row, bag in enumerate(which):
        for part in pieces(bags.cells([bag])):
            sums[row] += np.asarray(read_rows(store.rna, part).sum(axis=0, dtype=float)).ravel()
    return sums
