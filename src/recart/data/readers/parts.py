"""Readers of parts of a file: whole patients, some at a time, that no file need fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from recart.data.cohort import Cohort
from recart.data.readers.columns import Columns
from recart.data.readers.elements import Rows
from recart.data.readers.reader import Reader
from recart.data.readers.sample_tables import SideTables
from recart.data.readers.tables import as_text

__all__ = ["PartReader", "in_parts", "of_rows", "patients_in_parts"]


@final
@dataclass(frozen=True)
class PartReader(Reader):
    """Some cells of a file.

    `read_rows` reads the file's cells of these `rows` (ascending), `whole` are the file's `files`.
    """

    rows: Rows
    read_rows: Callable[[Rows], Cohort]
    whole: Sequence[Path]

    def files(self) -> Sequence[Path]:
        """Those of the whole cohort."""
        return self.whole

    def read(self) -> Cohort:
        """Read these cells alone."""
        return self.read_rows(self.rows)

    @property
    def size(self) -> int:
        """Its cells."""
        return len(self.rows)


def patients_in_parts(
    obs: pd.DataFrame, columns: Columns, side: SideTables, cells: int
) -> list[Rows]:
    """Rows of each part: all cells of some patients, in the order in which they first stand.

    One part where the file does not say whose a cell is, which reading will say, or where cell ids
    stand twice, which only the whole file tells.
    """
    everything = np.arange(len(obs), dtype=np.int64)
    owner = _owners(obs, columns, side)
    if owner is None or len(obs) <= cells or not obs.index.is_unique:
        return [everything]
    codes, patients = pd.factorize(owner)
    if (codes < 0).any():
        return [everything]
    part_of_cell = in_parts(np.bincount(codes, minlength=len(patients)), cells)[codes]
    return [np.flatnonzero(part_of_cell == number) for number in range(part_of_cell.max() + 1)]


def in_parts(sizes: Sequence[int] | Rows, cells: int) -> Rows:
    """Part of each patient of so many cells, one after the other: about `cells` cells a part."""
    found = np.zeros(len(sizes), dtype=np.int64)
    part = size = 0
    for patient, own in enumerate(sizes):
        if size and size + own > cells:
            part, size = part + 1, 0
        found[patient], size = part, size + own
    return found


def _owners(obs: pd.DataFrame, columns: Columns, side: SideTables) -> pd.Series[Any] | None:
    """Patient of every cell; None where that is not known before reading."""
    roles = columns.constants()
    if "patient" in roles:
        return None  # one patient
    named = {
        role: name
        for role in ("sample", "patient")
        if (name := columns.find(role, [str(own) for own in obs.columns])) is not None
    }
    if side.samples is not None and "patient" in side.samples and "sample" in named:
        samples = as_text(obs[named["sample"]])
        return samples.map(side.samples["patient"])
    return as_text(obs[named["patient"]]) if "patient" in named else None


def of_rows(
    obs: pd.DataFrame, chains: pd.DataFrame | None, rows: Rows | None
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The cells of these rows, and their receptor chains; all where `rows` is None."""
    if rows is None:
        return obs, chains
    own = obs.iloc[rows]
    if chains is None:
        return own, None
    return own, chains[chains["cell"].isin(own.index)].reset_index(drop=True)
