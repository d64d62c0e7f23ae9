"""The bags that were evaluated, one row for each patient and class, and what the tables say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.store import CohortStore

__all__ = ["labelled", "per_patient", "samples_of"]


def labelled(bags: Bags) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Rows of the bags with a label."""
    return np.flatnonzero(bags.table["label"].to_numpy() >= 0)


def samples_of(store: CohortStore, bags: Bags, bag: int) -> list[int]:
    """Samples (codes) that make up a bag."""
    sample = store.cells["sample"].to_numpy()
    return [int(sample[own.start]) for own in bags.slices[bag] if own.stop > own.start]


def per_patient(
    values: pd.DataFrame, bags: Bags, rows: Sequence[int] | Any
) -> tuple[pd.DataFrame, np.ndarray[Any, np.dtype[np.float64]]]:
    """One row for each patient and class, so that no patient counts twice: numbers' means, levels.

    Parameters
    ----------
    values
        (n) rows as `rows`: numbers or levels.
    bags, rows
        The bags, and which of them the values are of.

    Returns
    -------
    Columns of `values`, and the label of each row. Several levels of one patient are one, `a | b`.
    """
    own = bags.table.iloc[list(rows)]
    keys = [own["patient"].to_numpy(), own["label"].to_numpy()]
    grouped = values.reset_index(drop=True).groupby(keys)
    columns = {}
    for name in values.columns:
        if pd.api.types.is_numeric_dtype(values[name]):
            columns[name] = grouped[name].mean()
        else:
            columns[name] = grouped[name].agg(_joined)
    table = pd.DataFrame(columns, index=grouped.size().index)
    return table.reset_index(drop=True), table.index.get_level_values(1).to_numpy(dtype=float)


def _joined(levels: pd.Series[Any]) -> object:
    found = sorted({str(level) for level in levels.dropna()})
    return " | ".join(found) if found else None
