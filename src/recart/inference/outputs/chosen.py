"""Which cells, features and batches are asked for: numbers, masks and names to positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recart.data.rows import pieces
from recart.data.store import CohortStore
from recart.problems import InputError, Problem

__all__ = ["Rows", "cell_column", "parts_of", "positions_of", "rows_of"]

Rows = np.ndarray[Any, np.dtype[Any]]


def rows_of(indices: Rows | Sequence[int] | None, store: CohortStore) -> Rows:
    """Rows of the store: those given by number or by a mask, or all.

    Raises
    ------
    InputError
        If a mask is not as long as the store, or a number is out of range.
    """
    cells = len(store.cells)
    if indices is None:
        return np.arange(cells)
    given = np.asarray(indices)
    if given.dtype == np.bool_ and given.shape == (cells,):
        return np.flatnonzero(given)
    if given.dtype != np.bool_ and not ((given < 0) | (given >= cells)).any():
        return given.astype(np.int64).ravel()
    problem = Problem(
        code="E-OUT-003",
        what=f"cells are given by an array of shape {given.shape}, the store has {cells} cells",
        mend=f"give numbers from 0 to {cells - 1}, or a mask of {cells} cells",
    )
    raise InputError([problem])


def parts_of(indices: Rows | None, store: CohortStore, size: int) -> Iterator[Rows]:
    """The cells in parts of at most `size`.

    Where all are asked for, no part crosses the end of a sample: what is said of a patient does
    not depend on who else is there.
    """
    if indices is not None:
        yield from pieces(rows_of(indices, store), size)
        return
    for sample in range(len(store.samples)):
        own = store.sample_slice(sample)
        yield from pieces(np.arange(own.start, own.stop), size)


def positions_of(
    wanted: str | Sequence[str] | None, there: Sequence[str], kind: str
) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Positions of the wanted names in their own order; all where None is wanted.

    Raises
    ------
    InputError
        Naming every wanted name that is not there.
    """
    if wanted is None:
        return np.arange(len(there))
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    place = {name: position for position, name in enumerate(there)}
    lacking = tuple(name for name in names if name not in place)
    if lacking:
        problem = Problem(
            code="E-OUT-004",
            what=f"{len(lacking)} {kind} names are unknown to the model",
            mend=f"it knows {', '.join(list(there)[:5])}, ... ({len(there)} in all)",
            count=len(lacking),
            examples=lacking,
        )
        raise InputError([problem])
    return np.array([place[name] for name in names], dtype=np.intp)


def cell_column(store: CohortStore, name: str) -> pd.Series[Any]:
    """A column for every cell: of the cells, or of their samples, or of their patients.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    samples, patients = store.samples, store.patients
    if name in ("sample", "patient"):
        names = {"sample": samples, "patient": patients}[name].index.to_numpy()
        return pd.Series(names[store.cells[name].to_numpy()])
    if name in store.cells:
        return store.cells[name].reset_index(drop=True)
    for table, code in ((samples, "sample"), (patients, "patient")):
        if name in table:
            return pd.Series(table[name].to_numpy()[store.cells[code].to_numpy()])
    known = [*store.cells, *samples, *patients]
    problem = Problem(
        code="E-OUT-005",
        what="no column of cells, samples or patients has this name",
        mend=f"there are {', '.join(map(str, known))}",
        column=name,
    )
    raise InputError([problem])
