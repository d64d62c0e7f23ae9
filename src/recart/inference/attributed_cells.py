"""Contributions of all cells of new patients, by one member and as a mean over members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.store import CohortStore
from recart.inference.attribution import attribute_cells
from recart.training.heads import BagLatents
from recart.training.member_file import LoadedMember

__all__ = ["AttributedCells", "attribute_bags"]


@dataclass(frozen=True, kw_only=True)
class AttributedCells:
    """Contributions of the cells of all bags, by one member or as a mean over members.

    Attributes
    ----------
    cells
        (c) in the order in which cells were read; NaN for a cell that is in no bag.
    of_bags
        By bag: `base` and `rest`, see `CellAttribution`.
    method
        `growth`, or `deletion` where any of the members was told so.
    """

    cells: np.ndarray[Any, np.dtype[np.float32]]
    of_bags: pd.DataFrame
    method: str

    @classmethod
    def mean(cls, members: Sequence[AttributedCells]) -> AttributedCells | None:
        """Over members; None where there are none."""
        if not members:
            return None
        return cls(
            cells=np.mean([own.cells for own in members], axis=0, dtype=np.float64).astype("f4"),
            of_bags=reduce(add, (own.of_bags for own in members)) / len(members),
            method="growth" if all(own.method == "growth" for own in members) else "deletion",
        )

    @classmethod
    def joined(cls, parts: Sequence[AttributedCells]) -> AttributedCells:
        """Of the cells and bags of all parts."""
        return cls(
            cells=np.concatenate([own.cells for own in parts]),
            of_bags=pd.concat([own.of_bags for own in parts]),
            method=parts[0].method,
        )


def attribute_bags(
    member: LoadedMember, seen: BagLatents, bags: Bags, store: CohortStore
) -> AttributedCells:
    """Attribute the scores of all bags to their cells, by one member.

    Parameters
    ----------
    member
        The member.
    seen, bags, store
        The bags as the member sees them, all of them, and where their cells are.
    """
    source = store.cells["source"].to_numpy()
    cells = np.full(len(source), np.nan, dtype=np.float32)
    told = [attribute_cells(member.head, member.rule, seen, n) for n in range(len(bags))]
    for n, own in enumerate(told):
        cells[source[bags.cells([n])]] = own.contributions
    of_bags = pd.DataFrame(
        {"base": [own.base for own in told], "rest": [own.rest for own in told]},
        index=bags.table.index,
    )
    return AttributedCells(
        cells=cells, of_bags=of_bags, method=told[0].method if told else "growth"
    )
