"""How alike two patients' expression is: no further apart than two draws from one tube would be."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

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
# Of distances, so that they have logarithms; what is unknown is matched last.
_LEAST: Final = 1e-6
_FARTHEST: Final = 1e6


def profile_distances(store: CohortStore) -> pd.DataFrame:
    """How far apart the samples of each pair of patients are: `one`, `other`, `nearest`, `matched`.

    `nearest` is the distance of the nearest two samples; `matched` the geometric mean over samples
    matched one to one so that it is least. Of all pairs of samples of two persons some two are near
    by chance; all of them are only where the persons are one.

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
            distance_st = np.array(
                [
                    [_distance(profiles[s], profiles[t]) for t in of_patient[other]]
                    for s in of_patient[one]
                ]
            )
            if np.isfinite(distance_st).any():
                rows.append((one, other, float(np.nanmin(distance_st)), _matched(distance_st)))
    return pd.DataFrame(rows, columns=["one", "other", "nearest", "matched"])


def _matched(distance_st: Array) -> float:
    """Geometric mean of the distances (s, t) of samples matched one to one, NaN for unknown."""
    logs = np.log(distance_st.clip(min=_LEAST))
    cost = np.where(np.isnan(logs), np.log(_FARTHEST), logs)
    own = logs[linear_sum_assignment(cost)]
    return float(np.exp(np.nanmean(own)))


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


def _distance(one: tuple[Array, Array, Array], other: tuple[Array, Array, Array]) -> float:
    enough = (one[0] >= _FEWEST_COUNTS) & (other[0] >= _FEWEST_COUNTS)
    if enough.sum() < _FEWEST_GENES:
        return float("nan")
    difference = one[1][enough] - other[1][enough]
    ratio = difference**2 / (one[2][enough] + other[2][enough])
    # genes of one cell type swing together: no few of them decide
    return float(np.minimum(ratio, _CLIP).mean() / _CLIPPED_MEAN)
