"""Clonal expansion, diversity and persistence, counted inside each bag."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.store import CohortStore

__all__ = ["CLONE_FEATURES", "EXPANSION_CLASSES", "clone_features", "expansion_of_cells"]

Counts = np.ndarray[Any, np.dtype[np.int64]]

EXPANSION_CLASSES: Final = ("none", "1", "2-5", "6-20", "21-100", ">100")
_UPPER: Final = np.array([0, 1, 5, 20, 100])
_HYPEREXPANDED: Final = 100

CLONE_FEATURES: Final = (
    "receptor_share",
    "expanded_share",
    "hyperexpanded_share",
    "largest_clone_share",
    "clone_shannon",
    "clone_simpson",
    "clone_gini",
    "clone_persistence",
    "car_share",
    "car_expanded_share",
)


def clone_features(store: CohortStore, bags: Bags) -> pd.DataFrame:
    """Features of the clones of each bag: (n, f), index as `bags.table`, NaN where not measured.

    Sizes are counted on the cells of the bag alone, so that no cell from after the decision time,
    and no other patient, can enter. Let n_i be the cells of clone i in the bag, N their sum over
    the clones, p_i = n_i / N. Cells of samples that were not sequenced for receptors
    (`has_receptor` of the store's samples) enter CAR shares only. The features:

    - `receptor_share`: cells with a clone / cells of the sequenced samples.
    - `expanded_share`, `hyperexpanded_share`: share of N in clones of 2 cells or more, of more
      than 100. `largest_clone_share`: max p_i.
    - `clone_shannon`: -sum p_i ln p_i, in nats. Grows with N: compare bags of like size.
    - `clone_simpson`: sum n_i (n_i - 1) / (N (N - 1)), the probability that two cells drawn
      without replacement share a clone (Simpson, Nature 1949); its expectation does not depend on
      N. NaN for N < 2.
    - `clone_gini`: Gini coefficient of the n_i; 0 where all clones have one size.
    - `clone_persistence`: of the clones of 2 cells or more, the share seen in more than one sample
      of the bag. NaN with fewer than two sequenced samples or without such clones.
    - `car_share`: cells with a CAR transcript / cells. `car_expanded_share`: of the CAR+ cells with
      a clone, the share in clones of 2 cells or more. NaN without the column `car_umi`.
    """
    clone, sample = store.cells["clone"].to_numpy(), store.cells["sample"].to_numpy()
    car = store.cells["car_umi"].to_numpy() > 0 if "car_umi" in store.cells else None
    sequenced = store.samples["has_receptor"].to_numpy(dtype=np.bool_)
    rows = []
    for n in range(len(bags.table)):
        cells = bags.cells([n])
        own_car = None if car is None else car[cells]
        rows.append(_of_bag(clone[cells], sample[cells], sequenced[sample[cells]], own_car))
    return pd.DataFrame(rows, index=bags.table.index, columns=list(CLONE_FEATURES), dtype=float)


def expansion_of_cells(store: CohortStore, bags: Bags) -> np.ndarray[Any, np.dtype[np.int8]]:
    """(c) index into `EXPANSION_CLASSES` by the size of the cell's clone in its bag.

    The classes are those of scRepertoire. 0 for cells without a clone and outside all bags.

    Raises
    ------
    ValueError
        If bags share cells, since a clone then has several sizes.
    """
    of_cell = np.zeros(len(store.cells), dtype=np.int8)
    seen = np.zeros(len(store.cells), dtype=np.bool_)
    clone = store.cells["clone"].to_numpy()
    for n in range(len(bags.table)):
        cells = bags.cells([n])
        if seen[cells].any():
            raise ValueError(f"bag {bags.table.index[n]} shares cells with another bag")
        seen[cells] = True
        own = clone[cells] >= 0
        _, row, size = np.unique(clone[cells][own], return_inverse=True, return_counts=True)
        of_cell[cells[own]] = np.searchsorted(_UPPER, size[row])
    return of_cell


def _of_bag(
    clone: np.ndarray[Any, Any],
    sample: np.ndarray[Any, Any],
    sequenced: np.ndarray[Any, Any],
    car: np.ndarray[Any, Any] | None,
) -> dict[str, float]:
    row: dict[str, float] = {}
    has_clone = clone >= 0
    if car is not None and len(car):
        row["car_share"] = float(car.mean())
    if sequenced.any():
        row["receptor_share"] = float(has_clone[sequenced].mean())
    if not has_clone.any():
        return row
    codes, index, sizes = np.unique(clone[has_clone], return_inverse=True, return_counts=True)
    total = int(sizes.sum())
    p = sizes / total
    row |= {
        "expanded_share": float(sizes[sizes > 1].sum() / total),
        "hyperexpanded_share": float(sizes[sizes > _HYPEREXPANDED].sum() / total),
        "largest_clone_share": float(p.max()),
        "clone_shannon": float(-(p * np.log(p)).sum()) + 0.0,
        "clone_gini": _gini(sizes),
    }
    if total > 1:
        row["clone_simpson"] = float((sizes * (sizes - 1)).sum() / (total * (total - 1)))
    expanded = sizes > 1
    if len(np.unique(sample[sequenced])) > 1 and expanded.any():
        pairs = np.unique(np.stack([index, sample[has_clone]]), axis=1)
        samples_of_clone = np.bincount(pairs[0], minlength=len(codes))
        row["clone_persistence"] = float((samples_of_clone[expanded] > 1).mean())
    if car is not None and car[has_clone].any():
        row["car_expanded_share"] = float(expanded[index[car[has_clone]]].mean())
    return row


def _gini(sizes: Counts) -> float:
    """Mean absolute difference between two clones over twice the mean size."""
    ordered = np.sort(sizes)
    n = len(ordered)
    rank = np.arange(1, n + 1)
    return float(((2 * rank - n - 1) * ordered).sum() / (n * ordered.sum()))
