"""How alike two patients' expression is: no further apart than two draws from one tube would be."""

from __future__ import annotations

from itertools import product
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.rows import pieces, read_rows
from recart.data.store import CohortStore

__all__ = ["profile_distances"]

Array = np.ndarray[Any, Any]

_FEWEST_CELLS: Final = 30
_FEWEST_COUNTS: Final = 20  # of a gene in a sample, for its variance to mean something
_FEWEST_GENES: Final = 20
# The squared difference is cut here, and what is left on average of a standard normal's square.
_CLIP: Final = 6.0
_CLIPPED_MEAN: Final = 0.973


def profile_distances(store: CohortStore) -> pd.DataFrame:
    """Distance of the nearest two samples of each pair of patients: `one`, `other`, `distance`.

    Of a sample and a gene: its share of all counts, and the variance of that share over draws of
    cells from the sample. The distance of two samples is the mean over genes of the squared
    difference of shares over the sum of their variances, cut at 6. It is 1 on average where both
    were drawn from one tube, however deeply each was sequenced, less where they are the same cells,
    and grows with the number of cells where they are of different tubes. Samples of fewer than 30
    cells are left out; so are pairs of samples that have fewer than 20 genes in common with at
    least 20 counts in each.
    """
    samples = [s for s in range(len(store.samples)) if _cells(store, s) >= _FEWEST_CELLS]
    profiles = {s: _profile(store, s) for s in samples}
    of_patient: dict[int, list[int]] = {}
    for s in samples:
        of_patient.setdefault(int(store.samples["patient"].iloc[s]), []).append(s)
    patients = sorted(of_patient)
    rows = []
    for i, one in enumerate(patients):
        for other in patients[i + 1 :]:
            pairs = product(of_patient[one], of_patient[other])
            distances = [_distance(profiles[s], profiles[t]) for s, t in pairs]
            found = [d for d in distances if d is not None]
            if found:
                rows.append((one, other, min(found)))
    return pd.DataFrame(rows, columns=["one", "other", "distance"])


def _cells(store: CohortStore, sample: int) -> int:
    own = store.sample_slice(sample)
    return int(own.stop) - int(own.start)


def _profile(store: CohortStore, sample: int) -> tuple[Array, Array, Array]:
    """(g) counts, shares and variances of the shares of one sample."""
    own = store.sample_slice(sample)
    cells = np.arange(own.start, own.stop)
    depth = store.cells["n_counts"].to_numpy(dtype=float)[cells]
    genes = store.rna.shape[1]
    total, squares, crossed = np.zeros(genes), np.zeros(genes), np.zeros(genes)
    for rows in pieces(cells):
        rna = read_rows(store.rna, rows).astype(np.float64)
        total += np.asarray(rna.sum(axis=0)).ravel()
        squares += np.asarray(rna.multiply(rna).sum(axis=0)).ravel()
        crossed += np.asarray(rna.T @ depth[rows - own.start]).ravel()
    share = total / max(depth.sum(), 1.0)
    # of a ratio of sums over cells: the squares of its residuals
    residual = squares - 2 * share * crossed + share**2 * (depth**2).sum()
    return total, share, residual / max(depth.sum(), 1.0) ** 2


def _distance(one: tuple[Array, Array, Array], other: tuple[Array, Array, Array]) -> float | None:
    enough = (one[0] >= _FEWEST_COUNTS) & (other[0] >= _FEWEST_COUNTS)
    if enough.sum() < _FEWEST_GENES:
        return None
    difference = one[1][enough] - other[1][enough]
    ratio = difference**2 / (one[2][enough] + other[2][enough])
    # genes of one cell type swing together: no few of them decide
    return float(np.minimum(ratio, _CLIP).mean() / _CLIPPED_MEAN)
