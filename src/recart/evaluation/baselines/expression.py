"""Expression as the baselines take it: log-normalised cells and sums over bags."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from recart.data.bags import Bags
from recart.data.store import CohortStore
from recart.evaluation.baselines.baseline import IndexArray
from recart.evaluation.predictions import FloatArray

__all__ = ["bag_sums", "log_normalised", "top_variance"]

_CELL_TARGET = 1e4


def log_normalised(store: CohortStore, rows: IndexArray) -> sparse.csr_matrix:
    """(rows, g) log1p of counts per 10,000 of some cells; as given where already normalised.

    Each cell is scaled by its own total, so nothing is learned from other cells.
    """
    x = store.rna[rows].astype(np.float32)
    if not store.normalised:
        total = np.asarray(x.sum(axis=1)).ravel()
        factor = np.divide(_CELL_TARGET, total, out=np.zeros_like(total), where=total > 0)
        x = sparse.csr_matrix(x.multiply(factor[:, None]))
        x.data = np.log1p(x.data)
    return x


def top_variance(x: sparse.csr_matrix | FloatArray, n: int) -> IndexArray:
    """Columns of the `n` largest variances above zero, in ascending order of column."""
    if isinstance(x, np.ndarray):
        variance = x.var(axis=0)
    else:
        mean = np.asarray(x.mean(axis=0)).ravel()
        variance = np.asarray(x.multiply(x).mean(axis=0)).ravel() - mean**2
    order = np.argsort(-variance, kind="stable")[:n]
    return np.sort(order[variance[order] > 1e-12])


def bag_sums(values: sparse.csr_matrix | FloatArray, bags: Bags, which: IndexArray) -> FloatArray:
    """(which, columns) sums over the cells of some bags; `values` has a row per cell."""
    rows = [bags.cells([bag]) for bag in which]
    columns = np.concatenate(rows)
    starts = np.concatenate([[0], np.cumsum([len(of_bag) for of_bag in rows])])
    member = sparse.csr_matrix(
        (np.ones(len(columns)), columns, starts), shape=(len(which), values.shape[0])
    )
    sums = member @ values
    dense: FloatArray = np.asarray(sums.todense() if sparse.issparse(sums) else sums, dtype=float)
    return dense
