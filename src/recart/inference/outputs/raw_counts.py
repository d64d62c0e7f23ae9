"""What the raw counts of a group of cells show: means and shares of non-zeros."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recart.data.rows import pieces, read_rows
from recart.data.store import CohortStore
from recart.inference.outputs.chosen import Rows

__all__ = ["raw_count_properties"]

_PER_CELL = 1e4  # counts of a cell after normalisation, as scvi-tools and scanpy have it


def raw_count_properties(
    store: CohortStore, rows: Rows, genes: Rows, proteins: Rows
) -> pd.DataFrame:
    """Properties of genes, then proteins (rows) in the cells `rows`.

    Columns: `raw_mean`, `non_zeros_proportion`, and `raw_normalized_mean`, the mean of counts per
    10,000 of these genes (NaN for proteins). A protein's are of the cells where it was measured,
    NaN where it was not; -1 stands for a protein that the store lacks.
    """
    total, nonzero, normalised = np.zeros((3, len(genes)))
    for part in pieces(rows):
        counts = read_rows(store.rna, part)[:, genes].astype(np.float64)
        size = np.asarray(counts.sum(axis=1)).ravel()
        share = np.divide(_PER_CELL, size, out=np.zeros_like(size), where=size > 0)
        total += np.asarray(counts.sum(axis=0)).ravel()
        nonzero += counts.getnnz(axis=0)
        normalised += counts.T @ share
    cells = max(1, len(rows))
    rna = pd.DataFrame(
        {
            "raw_mean": total / cells,
            "non_zeros_proportion": nonzero / cells,
            "raw_normalized_mean": normalised / cells,
        }
    )
    return pd.concat([rna, _proteins(store, rows, proteins)], ignore_index=True)


def _proteins(store: CohortStore, rows: Rows, proteins: Rows) -> pd.DataFrame:
    there = np.flatnonzero(proteins >= 0) if store.protein is not None else np.zeros(0, np.intp)
    total, nonzero, measured = np.zeros((3, len(proteins)))
    for part in pieces(rows):
        if store.protein is None or not len(there):
            break
        sample = store.cells["sample"].to_numpy()[part]
        counts = read_rows(store.protein, part)[:, proteins[there]].astype(np.float64)
        mask = store.protein_measured[sample][:, proteins[there]]
        total[there] += (counts * mask).sum(0)
        nonzero[there] += ((counts > 0) & mask).sum(0)
        measured[there] += mask.sum(0)
    cells = np.where(measured > 0, measured, np.nan)
    return pd.DataFrame(
        {
            "raw_mean": total / cells,
            "non_zeros_proportion": nonzero / cells,
            "raw_normalized_mean": np.full(len(proteins), np.nan),
        }
    )
