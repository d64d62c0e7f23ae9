"""Some cells of each new patient as the prototypes of a member see them, to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from recart.data.bags import Bags
from recart.data.store import CohortStore
from recart.inference.score_parts import score_parts
from recart.training.heads import BagLatents, FittedHead
from recart.training.prototype_head import FittedPrototypeHead

__all__ = ["CellPictures", "picture_cells", "prototypes_of"]

_SHOWN: Final = 600  # more points than this only paint each other over


@dataclass(frozen=True, kw_only=True)
class CellPictures:
    """Cells of each bag that are shown.

    Attributes
    ----------
    points
        (c, d) of each bag, in the coordinates of the prototypes.
    rows
        (c) of each bag: which cells these are, in the order in which cells were read.
    cells
        How many cells were read.
    """

    points: tuple[np.ndarray[Any, np.dtype[np.float32]], ...]
    rows: tuple[np.ndarray[Any, np.dtype[np.int64]], ...]
    cells: int

    @classmethod
    def joined(cls, parts: Sequence[CellPictures]) -> CellPictures:
        """Of the bags of all parts."""
        before = np.cumsum([0, *(own.cells for own in parts)])
        return cls(
            points=tuple(points for own in parts for points in own.points),
            rows=tuple(
                rows + start
                for own, start in zip(parts, before[:-1], strict=True)
                for rows in own.rows
            ),
            cells=int(before[-1]),
        )


def prototypes_of(head: FittedHead) -> FittedPrototypeHead | None:
    """The head, or the first one inside it, that has prototypes; None where there is none."""
    return next((own for own, _ in score_parts(head).linear), None)


def picture_cells(
    head: FittedHead, seen: BagLatents, bags: Bags, store: CohortStore
) -> CellPictures | None:
    """Evenly spaced cells of every bag; a store's cells are shuffled inside each sample.

    None for a head without prototypes.
    """
    own = prototypes_of(head)
    if own is None:
        return None
    source = store.cells["source"].to_numpy()
    points, rows = [], []
    for n in range(len(bags)):
        cells = bags.cells([n])
        shown = np.unique(np.linspace(0, len(cells) - 1, min(_SHOWN, len(cells))).astype(int))
        points.append(own.view.of(seen, n).numpy()[shown].astype(np.float32))
        rows.append(source[cells[shown]].astype(np.int64))
    return CellPictures(points=tuple(points), rows=tuple(rows), cells=len(source))
