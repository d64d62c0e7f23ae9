"""Clonal expansion, diversity and persistence, counted inside each bag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.cohort import HAS_BCR, said_to_be_sequenced
from recart.data.stages import sample_days, sample_words
from recart.data.store import CohortStore

__all__ = [
    "CLONE_FEATURES",
    "EXPANSION_CLASSES",
    "clone_features",
    "clone_size_of_cells",
    "expansion_of",
]

Counts = np.ndarray[Any, np.dtype[np.int64]]

EXPANSION_CLASSES: Final = ("none", "1", "2-5", "6-20", "21-100", ">100")
_UPPER: Final = np.array([0, 1, 5, 20, 100])
_HYPEREXPANDED: Final = 100
_TOP: Final = 10  # clones

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
    "car_top_share",
    "clone_carried",
    "carried_share",
    "bcr_share",
    "bcr_expanded_share",
    "bcr_hyperexpanded_share",
    "bcr_largest_clone_share",
    "bcr_clone_shannon",
    "bcr_clone_simpson",
    "bcr_clone_gini",
    "bcr_clone_persistence",
    "bcr_clone_carried",
    "bcr_carried_share",
    "bcr_clone_burden",
)


def clone_features(store: CohortStore, bags: Bags) -> pd.DataFrame:
    """Features of the clones of each bag: (n, f), index as `bags.table`, NaN where not measured.

    Sizes are counted on the cells of the bag alone, so that no cell from after the decision time,
    and no other patient, can enter. Let n_i be the cells of clone i in the bag, N their sum over
    the clones, p_i = n_i / N. Cells of samples that were not sequenced for receptors enter CAR
    shares only: those without a clone of which no column `has_tcr` (of B cells `has_bcr`) of the
    samples says yes. The features:

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
      a clone, the share in clones of 2 cells or more. `car_top_share`: of the cells in the ten
      largest clones of 2 cells or more (and in those as large as the tenth), the share that is
      CAR+. NaN without the column `car_umi`.
    - `clone_carried`: of the clones in the earliest sequenced samples of the bag, apheresis or else
      product, the share seen again in later ones. `carried_share`: of the cells with a clone in
      the later samples, the share in clones that the earliest samples have. NaN with samples of one
      time only, and where the earliest are from after infusion (their day above 0). Samples are
      ordered as `bags.reading.stages` gives their time points, else by their days; where one of
      them has neither, the order is not known.
    - `bcr_...`: the same of B cell receptors. Of marrow with plasma cells,
      `bcr_largest_clone_share` is the share of the largest plasma-cell clone.
    - `bcr_clone_burden`: cells of the largest clone of B cells / all cells of the samples that were
      sequenced for it. Of a myeloma marrow, the share of the malignant clone in it.
    """
    sample = store.cells["sample"].to_numpy()
    car = store.cells["car_umi"].to_numpy() > 0 if "car_umi" in store.cells else None
    time = _time_of_samples(store.samples, bags.reading.stages)
    infused = sample_days(store.samples) > 0
    clone = store.cells["clone"].to_numpy()
    sequenced = store.samples["has_receptor"].to_numpy(dtype=np.bool_)
    bcr = store.cells["bcr_clone"].to_numpy() if "bcr_clone" in store.cells else None
    with_bcr = said_to_be_sequenced(store.samples, HAS_BCR)
    if bcr is not None:
        with_bcr[np.unique(sample[bcr >= 0])] = True
    rows = []
    for n in range(len(bags.table)):
        cells = bags.cells([n])
        own = sample[cells]
        row = _of_bag(_BagClones(clone[cells], own, sequenced[own], time[own], infused[own]))
        if car is not None and len(cells):
            row |= _car_shares(clone[cells], car[cells])
        if bcr is not None:
            of_b_cells = _of_bag(
                _BagClones(bcr[cells], own, with_bcr[own], time[own], infused[own])
            )
            row |= {_BCR_NAME.get(name, f"bcr_{name}"): value for name, value in of_b_cells.items()}
            share = row.get("bcr_share", np.nan)  # 0 where sequencing found no B cell at all
            row["bcr_clone_burden"] = share * row.get("bcr_largest_clone_share", 1.0)
        rows.append(row)
    return pd.DataFrame(rows, index=bags.table.index, columns=list(CLONE_FEATURES), dtype=float)


_BCR_NAME: Final = {"receptor_share": "bcr_share"}


def expansion_of(size: np.ndarray[Any, np.dtype[np.int32]]) -> np.ndarray[Any, np.dtype[np.int8]]:
    """(c) index into `EXPANSION_CLASSES` by size of the clone; the classes of scRepertoire."""
    return np.searchsorted(_UPPER, size).astype(np.int8)


def clone_size_of_cells(store: CohortStore, bags: Bags) -> np.ndarray[Any, np.dtype[np.int32]]:
    """(c) cells of the cell's clone in its bag; 0 for cells without a clone and outside all bags.

    Raises
    ------
    ValueError
        If bags share cells, since a clone then has several sizes.
    """
    of_cell = np.zeros(len(store.cells), dtype=np.int32)
    seen = np.zeros(len(store.cells), dtype=np.bool_)
    clone = store.cells["clone"].to_numpy()
    for n in range(len(bags.table)):
        cells = bags.cells([n])
        if seen[cells].any():
            raise ValueError(f"bag {bags.table.index[n]} shares cells with another bag")
        seen[cells] = True
        own = clone[cells] >= 0
        _, row, size = np.unique(clone[cells][own], return_inverse=True, return_counts=True)
        of_cell[cells[own]] = size[row]
    return of_cell


class _BagClones(NamedTuple):
    """Of each cell of a bag: clone (-1: none), sample, and what is known of that.

    `sequenced`: for receptors; its `time`, and whether it is from after infusion.
    """

    clone: np.ndarray[Any, Any]
    sample: np.ndarray[Any, Any]
    sequenced: np.ndarray[Any, Any]
    time: np.ndarray[Any, Any]
    infused: np.ndarray[Any, Any]


def _of_bag(bag: _BagClones) -> dict[str, float]:
    row: dict[str, float] = {}
    has_clone = bag.clone >= 0
    if bag.sequenced.any():
        row["receptor_share"] = float(has_clone[bag.sequenced].mean())
    if not has_clone.any():
        return row
    codes, index, sizes = np.unique(bag.clone[has_clone], return_inverse=True, return_counts=True)
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
    if len(np.unique(bag.sample[bag.sequenced])) > 1 and expanded.any():
        pairs = np.unique(np.stack([index, bag.sample[has_clone]]), axis=1)
        samples_of_clone = np.bincount(pairs[0], minlength=len(codes))
        row["clone_persistence"] = float((samples_of_clone[expanded] > 1).mean())
    if bag.infused[bag.sequenced].all():
        return row
    return row | _carried(index, bag.time[has_clone], bag.time[bag.sequenced])


def _carried(
    clone: np.ndarray[Any, Any], time: np.ndarray[Any, Any], sequenced: np.ndarray[Any, Any]
) -> dict[str, float]:
    """Clones of the first time that later samples show; `clone` and `time` are of their cells.

    `sequenced` are the times of all cells of sequenced samples, with a clone or without.
    """
    if np.isnan(sequenced).any() or len(np.unique(sequenced)) < 2:
        return {}
    first = time == sequenced.min()
    before, after = np.unique(clone[first]), np.unique(clone[~first])
    row = {}
    if len(before):
        row["clone_carried"] = float(np.isin(before, after).mean())
    if len(after):
        row["carried_share"] = float(np.isin(clone[~first], before).mean())
    return row


def _car_shares(clone: np.ndarray[Any, Any], car: np.ndarray[Any, Any]) -> dict[str, float]:
    row = {"car_share": float(car.mean())}
    has_clone = clone >= 0
    if not has_clone.any():
        return row
    _, index, sizes = np.unique(clone[has_clone], return_inverse=True, return_counts=True)
    own = car[has_clone]
    if own.any():
        row["car_expanded_share"] = float((sizes > 1)[index[own]].mean())
    # ties enter together: which of two equal clones is named first must not matter
    least = max(2, int(np.sort(sizes)[-_TOP:][0]))
    top = sizes >= least
    if top.any():
        row["car_top_share"] = float(own[top[index]].mean())
    return row


def _time_of_samples(samples: pd.DataFrame, given: Sequence[str]) -> np.ndarray[Any, Any]:
    """(s) numbers that grow with time, comparable within a patient; NaN where not known."""
    if given:
        place = {name: float(at) for at, name in enumerate(given)}
        words = sample_words(samples, "timepoint")
        return np.array([place.get(word, np.nan) for word in words], dtype=np.float64)
    return sample_days(samples)


def _gini(sizes: Counts) -> float:
    """Mean absolute difference between two clones over twice the mean size."""
    ordered = np.sort(sizes)
    n = len(ordered)
    rank = np.arange(1, n + 1)
    return float(((2 * rank - n - 1) * ordered).sum() / (n * ordered.sum()))
