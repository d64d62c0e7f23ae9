"""Everything that could say that two patients are one donor, pair by pair."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import numpy as np
import pandas as pd

from recart.data.store import CohortStore
from recart.evaluation.audit.cell_duplicates import duplicate_cells
from recart.evaluation.audit.donor_profiles import profile_distances
from recart.evaluation.audit.shared_clones import SharedClones

__all__ = ["SAME_TUBE", "Pair", "donor_evidence"]

Pair = tuple[int, int]

# Two draws from one tube are 1 apart on average.
SAME_TUBE: Final = 1.2
_FEWEST_PAIRS: Final = 10


def donor_evidence(store: CohortStore, clones: SharedClones | None) -> dict[Pair, dict[str, float]]:
    """What speaks for one donor, of each pair of patients (codes) of whom anything does.

    Keys: `cells` with the same counts; `shared` receptors, their `overlap` and `jaccard`, and
    `jaccard_of_others`, the 99th percentile of the pairs without either patient; `distance` of
    their nearest samples where it is below `SAME_TUBE` (else infinite), and `below`, by how many
    robust standard deviations of its logarithm it differs from all pairs.
    """
    blank = dict.fromkeys(
        ("cells", "shared", "overlap", "jaccard", "jaccard_of_others", "below"), 0.0
    )
    found: dict[Pair, dict[str, float]] = defaultdict(lambda: {**blank, "distance": np.inf})
    for pair, cells in duplicate_cells(store).items():
        found[pair]["cells"] = float(cells)
    if clones is not None:
        _add_clones(found, clones.pairs)
    near = _near(profile_distances(store))
    columns = (near[name].tolist() for name in ("one", "other", "distance", "below"))
    for one, other, distance, below in zip(*columns, strict=True):
        found[one, other] |= {"distance": distance, "below": below}
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
    if len(distances) < _FEWEST_PAIRS:
        return distances.assign(below=0.0)[distances["distance"] < SAME_TUBE]
    logs = np.log(distances["distance"].to_numpy(dtype=float).clip(min=1e-6))
    from_middle = logs - np.median(logs)
    spread = 1.4826 * np.median(np.abs(from_middle))
    below = from_middle / spread if spread > 0 else np.zeros_like(logs)
    return distances.assign(below=below)[distances["distance"] < SAME_TUBE]
