"""Whether patients that were held out for good are of another place than all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from recart.data.split import Kind, Split
from recart.data.store import CohortStore

__all__ = ["PLACE_COLUMNS", "Place", "place_of"]

# columns that say where, or in which study, a patient was treated
PLACE_COLUMNS: Final = ("site", "centre", "center", "hospital", "study", "cohort")
_STUDIES: Final = ("study", "cohort")  # of which one place can have several
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Place:
    """A column, and its values that only patients of the outside cohort have."""

    column: str
    values: tuple[str, ...]

    @property
    def words(self) -> str:
        """`site: Leiden`."""
        more = f" and {len(self.values) - _SHOWN} more" if len(self.values) > _SHOWN else ""
        return f"{self.column}: {', '.join(self.values[:_SHOWN])}{more}"


def place_of(split: Split, store: CohortStore, columns: Sequence[str]) -> Place | None:
    """The first column that sets held-out patients of an outside cohort apart from all others.

    Parameters
    ----------
    split
        The split; one of another kind than an outside cohort has no place.
    store
        The cohort, with its samples and patients.
    columns
        Columns that name places. A batch, an id or a sex is none: whoever picks patients by it may
        pick those that are predicted well. Where one of a place itself is shared, another study or
        cohort sets nobody apart: discovery and validation of one hospital are no two places.

    Returns
    -------
    None where no column is there, a patient has no value of it, or a held-out patient shares one
    with a patient that some model was trained on.
    """
    if split.kind is not Kind.EXTERNAL:
        return None
    held_out = {code for fold in split.folds for code in fold.held_out}
    seen = {code for fold in split.folds for code in (*fold.train, *fold.validation)}
    shared = False
    for column in sorted(columns, key=_STUDIES.__contains__):
        values = _values(store, column) or {}
        own, theirs = (
            set().union(*(values.get(code, ()) for code in codes)) for codes in (held_out, seen)
        )
        if set(map(_spelt, own)) & set(map(_spelt, theirs)):
            shared = True
        elif (held_out | seen) <= values.keys() and not (shared and column in _STUDIES):
            return Place(column=column, values=tuple(sorted(own)))
    return None


def _spelt(value: str) -> str:
    """One place in any case, with or without blanks and hyphens."""
    return "".join(filter(str.isalnum, value.casefold())) or value


def _values(store: CohortStore, column: str) -> dict[int, set[str]] | None:
    """Values of each patient (code) that has any, over samples where the column is theirs."""
    for table, codes in (
        (store.patients, np.arange(len(store.patients))),
        (store.samples, store.samples["patient"].to_numpy()),
    ):
        if column in table:
            found: dict[int, set[str]] = {}
            known = table[column].notna().to_numpy()
            for code, value in zip(codes[known], table[column][known].astype(str), strict=True):
                found.setdefault(int(code), set()).add(value)
            return found
    return None
