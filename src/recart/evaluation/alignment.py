"""Whether the cohort's design gives the label away, so that nothing can be claimed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.store import CohortStore
from recart.evaluation.audit.association import Permutations, cramers_v, holm
from recart.evaluation.audit.evaluated_bags import labelled, per_patient, samples_of
from recart.evaluation.baselines.confounders import design_table

__all__ = ["ALIGNED_P", "ALIGNED_V", "aligned_columns", "aligned_design", "design_of"]

# Cramer's V at or above which a column can hardly be told from the endpoint ...
ALIGNED_V = 0.9
# ... where its Holm-adjusted p lies below this: among few patients chance aligns, too
ALIGNED_P = 0.01
# permutations behind the p of more than two levels
_DRAWS = 2000
_MISSING = "not given"
_JOINT = " | "

Array = np.ndarray[Any, Any]


def aligned_design(store: CohortStore, bags: Bags) -> list[str]:
    """Columns of the design that give the label away, worded as obstacles, one sentence each.

    A column counts by the levels of all samples of a bag, a row a patient: a library of its own
    holds one class however many samples its patient has. Beside columns whose every level holds
    one class (`aligned_columns`), one is aligned that a few exceptions do not clear: where Cramer's
    V of its levels with the class, or of whether a patient has any sample at one of its levels, is
    at least `ALIGNED_V` with a p, adjusted over columns or levels, below `ALIGNED_P`.
    """
    rows = labelled(bags)
    table, y = per_patient(design_of(store, bags, rows), bags, rows)
    pure = {str(name): aligned_columns(table[[name]], y.astype(int)) for name in table}
    nearly = _nearly(table, y)
    return [sentence for name in pure for sentence in (pure[name] or nearly.get(name, []))]


def design_of(store: CohortStore, bags: Bags, rows: Array) -> pd.DataFrame:
    """Batch, site and product of some bags, as far as given; several levels of one are `a | b`."""
    samples = [samples_of(store, bags, int(bag)) for bag in rows]
    values = {str(column): own.to_numpy() for column, own in design_table(store).items()}
    levels = {column: [_joined(own[which]) for which in samples] for column, own in values.items()}
    return pd.DataFrame(levels, index=range(len(samples)))


def aligned_columns(columns: pd.DataFrame, y: Sequence[int] | Array) -> list[str]:
    """Columns of which every level holds one class, worded as obstacles.

    Parameters
    ----------
    columns
        (n) rows as `y`: batch, site, product of each patient.
    y
        (n) labels.

    Notes
    -----
    A column is aligned where each of its levels holds one class only and levels have, on average,
    at least two patients. A classifier cannot be told from a batch detector then, and removing the
    batch does not repair it (Soneson et al., PLoS ONE 2014, e100335).
    """
    labels = pd.Series(list(y), index=columns.index)
    found = []
    for name in columns.columns:
        by_level = labels.groupby(columns[name].astype(str).to_numpy())
        levels = by_level.ngroups
        if 2 <= levels <= len(labels) / 2 and bool((by_level.nunique() == 1).all()):
            found.append(
                f"Column {name} is aligned with the endpoint: each of its {levels} levels holds "
                "one class only, so the effect of the one cannot be told from the other."
            )
    return found


def _nearly(table: pd.DataFrame, y: Array) -> dict[str, list[str]]:
    """The sentence of each column that all but tells the class; `table` has a row a patient."""
    if len(set(y)) < 2:
        return {}
    permutations = Permutations.draw(y, _DRAWS)
    whole = {str(name): table[name].astype(str).to_numpy() for name in table.columns}
    found = {
        name: [
            f"Column {name} is all but aligned with the endpoint: Cramer's V {v:.2f}, "
            f"Holm-adjusted p {p:.1g} over {len(y)} patients, so the effect of the one cannot be "
            "told from the other."
        ]
        for name, v, p in _closest(list(whole.items()), y, permutations)
    }
    # a batch of the second sample shows in no level that is joined with those of the first
    single = [
        (name, np.array([level in own.split(_JOINT) for own in values]))
        for name, values in whole.items()
        for level in sorted({part for own in values for part in own.split(_JOINT)})
    ]
    for name, v, p in _closest(single, y, permutations):
        sentence = (
            f"Column {name} is all but aligned with the endpoint: whether a patient has a sample "
            f"at one of its levels has Cramer's V {v:.2f} with the class, Holm-adjusted p {p:.1g} "
            f"over {len(y)} patients."
        )
        found.setdefault(name, [sentence])
    return found


def _closest(
    columns: Sequence[tuple[str, Array]], y: Array, permutations: Permutations
) -> list[tuple[str, float, float]]:
    """Name, Cramer's V and adjusted p of the columns where both cross their bounds."""
    p = holm({str(i): permutations.of_levels(values) for i, (_, values) in enumerate(columns)})
    found = [(name, cramers_v(values, y), p[str(i)]) for i, (name, values) in enumerate(columns)]
    return [one for one in found if one[1] >= ALIGNED_V and one[2] < ALIGNED_P]


def _joined(levels: Array) -> str:
    return _JOINT.join(sorted({_MISSING if pd.isna(own) else str(own) for own in levels}))
