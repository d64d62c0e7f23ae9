"""The sex that the cells of a sample show: XIST, and genes of the Y chromosome."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.rows import pieces, read_rows
from recart.data.store import CohortStore

__all__ = ["given_sex", "shown_sex"]

_XIST: Final = ("XIST", "ENSG00000229807")
_Y_GENES: Final = (
    *("RPS4Y1", "ENSG00000129824", "DDX3Y", "ENSG00000067048", "EIF1AY", "ENSG00000198692"),
    *("UTY", "ENSG00000183878", "KDM5D", "ENSG00000012817", "USP9Y", "ENSG00000114374"),
)
_FEWEST_CELLS: Final = 50
# Share of cells with a count that means the gene is there, and how many times less of the other
# kind ambient RNA explains.
_THERE: Final = 0.1
_AMBIENT: Final = 5
_COLUMNS: Final = ("sex", "gender")
_WORDS: Final = {
    **dict.fromkeys(("f", "female", "w", "woman"), "female"),
    **dict.fromkeys(("m", "male", "man"), "male"),
}


def shown_sex(store: CohortStore) -> pd.Series[Any] | None:
    """`female`, `male`, `both` or `unclear` of each sample; None where the genes are not there.

    `both` has cells of two people, as after a transplant, in a mix-up, or in a pool of donors.
    """
    names = np.array(store.genes, dtype=object)
    xist, y_genes = (np.flatnonzero(np.isin(names, own)) for own in (_XIST, _Y_GENES))
    if not len(xist) or not len(y_genes):
        return None
    calls = []
    for s in range(len(store.samples)):
        own = store.sample_slice(s)
        cells = np.arange(own.start, own.stop)
        x = y = 0
        for rows in pieces(cells):
            rna = read_rows(store.rna, rows)
            x += int((rna[:, xist].sum(axis=1) > 0).sum())
            y += int((rna[:, y_genes].sum(axis=1) > 0).sum())
        calls.append(_call(x / max(len(cells), 1), y / max(len(cells), 1), len(cells)))
    return pd.Series(calls, index=store.samples.index)


def given_sex(store: CohortStore) -> pd.Series[Any] | None:
    """`female` or `male` of each patient (by pseudonym) as the tables say; None without a column.

    Patients of whom nothing is said, or several things, are left out.
    """
    for table, owner in (
        (store.patients, store.patients.index),
        (store.samples, store.patients.index[store.samples["patient"]]),
    ):
        for column in table.columns:
            if str(column).lower() in _COLUMNS:
                words = table[column].astype(str).str.strip().str.lower().map(_WORDS)
                by_patient = pd.Series(words.to_numpy(), index=owner).dropna().groupby(level=0)
                return by_patient.first()[by_patient.nunique() == 1]
    return None


def _call(x: float, y: float, cells: int) -> str:
    if cells < _FEWEST_CELLS:
        return "unclear"
    if x >= _THERE and x >= _AMBIENT * y:
        return "female"
    if y >= _THERE and y >= _AMBIENT * x:
        return "male"
    return "both" if min(x, y) >= _THERE else "unclear"
