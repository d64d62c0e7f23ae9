"""Which cells a contrast compares: groups of a column, or cells given one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recart.data.store import CohortStore
from recart.inference.outputs.chosen import Rows, cell_column, rows_of
from recart.problems import Problem, Problems

__all__ = ["Contrast", "contrasts"]


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Two groups of cells (rows of the store) and their names."""

    group1: str
    group2: str
    rows1: Rows
    rows2: Rows


def contrasts(
    store: CohortStore,
    groupby: str | None,
    groups: tuple[str | Sequence[str] | None, str | None],
    indices: tuple[Rows | None, Rows | None],
) -> list[Contrast]:
    """Each first group against the second, or against all other cells where there is none.

    Cells without a value of `groupby` are in no group. Without first groups, every group is one.

    Raises
    ------
    InputError
        If neither a column nor cells are given, or a group has no cells.
    """
    problems = Problems()
    found: list[Contrast] = []
    if indices[0] is not None:
        rows1 = rows_of(indices[0], store)
        rest = np.setdiff1d(np.arange(len(store.cells)), rows1)
        rows2 = rest if indices[1] is None else rows_of(indices[1], store)
        found.append(Contrast(group1="one", group2="two", rows1=rows1, rows2=rows2))
    elif groupby is not None:
        column = cell_column(store, groupby)
        known, named = column.notna().to_numpy(), column.astype(str).to_numpy()
        first, second = groups
        names = sorted(set(named[known])) if first is None else first
        for name in [names] if isinstance(names, str) else names:
            own = known & (named == str(name))
            other = known & ~own if second is None else known & (named == str(second))
            found.append(
                Contrast(
                    group1=str(name),
                    group2="Rest" if second is None else str(second),
                    rows1=np.flatnonzero(own),
                    rows2=np.flatnonzero(other),
                )
            )
    else:
        problems.error(
            Problem(
                code="E-OUT-006",
                what="no groups of cells are given",
                mend="give groupby (a column of cells, samples or patients), or idx1",
            )
        )
    for contrast in found:
        for name, rows in ((contrast.group1, contrast.rows1), (contrast.group2, contrast.rows2)):
            if len(rows) == 0:
                problems.error(
                    Problem(
                        code="E-OUT-007",
                        what=f"group {name} has no cells",
                        mend="name groups that the column has, and two different ones",
                        column=groupby or "",
                    )
                )
    problems.raise_if_any()
    return found
