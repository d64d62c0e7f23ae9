"""Sketches of patients' cells: by them a patient is known again, whatever else a cohort is now.

A name would not do: two studies both have a patient 1, and a patient can be named anew. Nor would
a hash of the prepared cohort: it changes with the receptor embedding, the limits or a column more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.store import CohortStore

__all__ = ["DIGITS", "SIZE", "cell_sketch", "known_again"]

SIZE: Final = 32
"""Hashes of a sketch."""
DIGITS: Final = 8
"""Hexadecimal digits of a hash."""
# Of two sketches of one patient, this share of the smaller is in both. Removing cells at random
# down to a share s of them leaves about that share; of other patients next to nothing is shared.
_SHARED: Final = 0.25

_OF_RNA: Final = ("n_counts", "n_genes", "pct_mito")


def cell_sketch(store: CohortStore, patients: Iterable[int]) -> list[str]:
    """One sketch of each patient (code), from all of his cells in the store.

    Each cell is hashed by its molecules, its genes and its mitochondrial share (without RNA, by its
    proteins), which hardly two cells have alike. The smallest hashes are a random choice of the
    cells, and the same choice wherever these cells are (min-hashing: Broder 1997): it holds no id
    and no order, and stays as it is under other receptors, limits, metadata and CAR genes, another
    key of pseudonyms, and other names.
    """
    of_cell = store.cells["patient"].to_numpy()
    sketches = []
    for code in patients:
        start, stop = np.searchsorted(of_cell, [code, code + 1])
        hashes = pd.util.hash_pandas_object(_features(store, start, stop), index=False).to_numpy()
        # the smallest begin with zeros: what tells them apart are their last digits
        smallest = np.unique(hashes)[:SIZE] & (16**DIGITS - 1)
        sketches.append("".join(f"{own:0{DIGITS}x}" for own in smallest.tolist()))
    return sketches


def known_again(sketches: Sequence[str], among: Collection[str]) -> int:
    """How many of the patients that were sketched are `among` others that were."""
    holders: dict[str, list[int]] = {}
    sizes = []
    for row, sketch in enumerate(among):
        hashes = _hashes(sketch)
        sizes.append(len(hashes))
        for own in hashes:
            holders.setdefault(own, []).append(row)
    found = 0
    for sketch in sketches:
        hashes = _hashes(sketch)
        shared = Counter(row for own in hashes for row in holders.get(own, ()))
        found += any(n >= _SHARED * min(len(hashes), sizes[row]) for row, n in shared.items())
    return found


def _features(store: CohortStore, start: int, stop: int) -> pd.DataFrame:
    if store.genes or store.protein is None:
        own = store.cells.iloc[start:stop][list(_OF_RNA)]
        return own.astype(np.float64).fillna(0.0)
    protein: Any = store.protein[start:stop]
    return pd.DataFrame(np.asarray(protein, dtype=np.float64))


def _hashes(sketch: str) -> frozenset[str]:
    return frozenset(sketch[at : at + DIGITS] for at in range(0, len(sketch), DIGITS))
