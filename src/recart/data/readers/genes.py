"""Gene tables of one form, and what becomes of symbols that several genes share."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from scipy import sparse

from recart.problems import InputError, Problem

__all__ = ["DUPLICATES", "gene_table", "merge_duplicates"]

DUPLICATES: Final = ("error", "sum", "first", "ensembl")
_ENSEMBL: Final = ("ensembl", "ensembl_id", "gene_ids", "gene_id", "feature_id", "id")


def gene_table(features: pd.DataFrame) -> pd.DataFrame:
    """Index: gene names as given; column `ensembl` (without version) where the id is known."""
    names = pd.Index([str(name).strip() for name in features.index], dtype=object)
    table = pd.DataFrame(index=names)
    by_lower = {str(column).lower(): column for column in features.columns}
    for alias in _ENSEMBL:
        if alias in by_lower:
            ids = features[by_lower[alias]].astype(str).str.replace(r"\.\d+$", "", regex=True)
            if ids.str.match(r"^ENS[A-Z]*G\d+$").mean() > 0.5:
                table["ensembl"] = ids.to_numpy(dtype=object)
                break
    return table


def merge_duplicates(
    matrix: sparse.csr_matrix, genes: pd.DataFrame, how: str, dropped: dict[str, int]
) -> tuple[sparse.csr_matrix, pd.DataFrame]:
    """Resolve gene symbols that stand twice.

    Parameters
    ----------
    matrix, genes
        RNA and its gene table, in the same order.
    how
        `error` leaves them for the checks to report; `sum` adds their counts; `first` keeps the
        first; `ensembl` appends the Ensembl id to every symbol that is shared.
    dropped
        Counts the genes that went.

    Raises
    ------
    InputError
        If `how` is none of these, or `ensembl` without Ensembl ids.
    """
    if how not in DUPLICATES or (how == "ensembl" and "ensembl" not in genes.columns):
        raise InputError(
            [
                Problem(
                    code="E-GENE-001",
                    what=f"duplicate_genes={how} cannot be done"
                    + ("" if how not in DUPLICATES else " without Ensembl ids"),
                    mend=f"use one of {', '.join(DUPLICATES)}",
                    column="duplicate_genes",
                )
            ]
        )
    if how == "error" or genes.index.is_unique:
        return matrix, genes
    if how == "ensembl":
        shared = genes.index.duplicated(keep=False)
        names = np.where(shared, genes.index + "_" + genes["ensembl"], genes.index)
        return matrix, genes.set_axis(pd.Index(names, dtype=object), axis=0)
    first = ~genes.index.duplicated()
    kept = genes[first]
    key = f"genes with a shared symbol ({'added up' if how == 'sum' else 'first kept'})"
    dropped[key] = dropped.get(key, 0) + int((~first).sum())
    if how == "first":
        return sparse.csr_matrix(matrix[:, first]), kept
    target = kept.index.get_indexer_for(genes.index)
    add = sparse.csr_matrix(
        (np.ones(len(genes), dtype=matrix.dtype), (np.arange(len(genes)), target)),
        shape=(len(genes), len(kept)),
    )
    return sparse.csr_matrix(matrix @ add), kept
