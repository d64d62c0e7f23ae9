"""The bar that a user sees while cells are embedded."""

from __future__ import annotations

import time
from typing import Self, final

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from recart.training.progress import CONSOLE

__all__ = ["CellProgress"]


@final
class CellProgress:
    """Cells embedded by all members, how many a second, and the time left.

    Parameters
    ----------
    cells
        In all; None where that is not known before they are read.
    members
        Each of which encodes every cell.
    """

    def __init__(self, cells: int | None, members: int) -> None:
        self._cells, self._members = cells, members
        self._done = 0
        self._started = time.monotonic()
        whole = Column(no_wrap=True, min_width=12)
        self._bar = Progress(
            TextColumn("cells {task.fields[cells]}", table_column=whole),
            BarColumn(bar_width=None),
            TextColumn("{task.description}", table_column=whole),
            TimeRemainingColumn(),
            console=CONSOLE,
            disable=not CONSOLE.is_terminal,
        )
        self._task = self._bar.add_task(
            "", total=None if cells is None else cells * members, cells="0"
        )

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, cells: int, total: int | None) -> None:
        """Go on to a part of `cells` cells; what the rules left out is not waited for."""
        if total is None:
            self._bar.update(self._task, total=cells * self._members)

    def advance(self, cells: int) -> None:
        """Count cells that one member has encoded."""
        self._done += cells
        rate = self._done / max(time.monotonic() - self._started, 1e-9)
        self._bar.update(
            self._task,
            completed=self._done,
            cells=f"{self._done // self._members:,}",
            description=f"{rate:,.0f} encoded/s",
        )
