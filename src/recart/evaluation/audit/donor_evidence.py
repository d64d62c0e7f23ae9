"""Everything that could say that two patients are one donor, pair by pair."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.store import CohortStore
from recart.evaluation.audit.cell_duplicates import duplicate_cells
from recart.evaluation.audit.donor_profiles import profile_distances
from recart.evaluation.audit.shared_clones import SharedClones

__all__ = ["SAME_TUBE", "Pair", "donor_evidence"]

Pair = tuple[int, int]
Array = np.ndarray[Any, np.dtype[Any]]

# Two draws from one tube are 1 apart on average. Among 3,640 pairs of eight simulated cohorts those
# of one person were matched at up to 1.16, those of two persons from 1.36 on.
SAME_TUBE: Final = 1.25
_FEWEST_PAIRS: Final = 10
_DISTANCES: Final = ("nearest", "matched")


def donor_evidence(store: CohortStore, clones: SharedClones | None) -> dict[Pair, dict[str, float]]:
    """What speaks for one donor, of each pair of patients (codes) of whom anything does.

    Keys: `cells` with the same counts; `shared` receptors, their `overlap` and `jaccard`, and
    `jaccard_of_others`, the 99th percentile of the pairs without either patient; `nearest` and
    `matched` of `profile_distances` where the nearest samples are below `SAME_TUBE` (else
    infinite), and `nearest_below`, `matched_below`, by how many robust standard deviations of its
    logarithm each differs from all pairs; `usual`, how far the middle pair is matched, infinite
    where these are.
    """
    counts = ("cells", "shared", "overlap", "jaccard", "jaccard_of_others")
    blank = {
        **dict.fromkeys((*counts, *(f"{name}_below" for name in _DISTANCES)), 0.0),
        **dict.fromkeys((*_DISTANCES, "usual"), np.inf),
    }
    found: dict[Pair, dict[str, float]] = defaultdict(lambda: dict(blank))
    for pair, cells in duplicate_cells(store).items():
        found[pair]["cells"] = float(cells)
    if clones is not None:
        _add_clones(found, clones.pairs)
    near = _near(profile_distances(store)).set_index(["one", "other"])
    for (one, other), *own in near.itertuples(name=None):
        found[one, other] |= dict(zip(near.columns, own, strict=True))
    return dict(found)


def _add_clones(found: dict[Pair, dict[str, float]], pairs: pd.DataFrame) -> None:
    sharing = pairs[pairs["shared"] > 0]
    columns = (sharing[name].tolist() for name in pairs.columns)
    for one, other, shared, jaccard, overlap in zip(*columns, strict=True):
        has_either = pairs["one"].isin([one, other]) | pairs["other"].isin([one, other])
        others = pairs.loc[~has_either, "jaccard"]
        found[one, other] |= {
            "shared": float(shared),
            "jaccard": jaccard,
            "overlap": overlap,
            "jaccard_of_others": float(others.quantile(0.99)) if len(others) else 0.0,
        }


def _near(distances: pd.DataFrame) -> pd.DataFrame:
    """Pairs below `SAME_TUBE`, and by how many robust standard deviations they lie below all."""
    for name in _DISTANCES:
        distances[f"{name}_below"] = _below(distances[name].to_numpy(dtype=float))
    distances["usual"] = distances["matched"].median()
    return distances[distances["nearest"] < SAME_TUBE]


def _below(distance: Array) -> Array:
    """(pairs) robust standard deviations of logarithms from the middle; 0 among too few pairs."""
    if len(distance) < _FEWEST_PAIRS:
        return np.zeros_like(distance)
    logs = np.log(distance.clip(min=1e-6))
    from_middle = logs - np.median(logs)
    spread = 1.4826 * np.median(np.abs(from_middle))
    below: Array = from_middle / spread if spread > 0 else np.zeros_like(logs)
    return below
