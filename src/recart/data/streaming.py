"""Training on cells that stay on disk: slabs read ahead by a thread, blocks shuffled over windows.

A slab is some consecutive cells of one sample, read at once. An epoch visits the slabs in random
order, a window of them at a time, and shuffles blocks of cells inside each window: what is in
memory is two windows, however large the cohort. Cells in memory are visited in the same order, so
that where they lie is only a matter of speed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, final

import numpy as np
from scipy import sparse

from recart.data.rows import RowArray
from recart.data.store import CohortStore

__all__ = ["WINDOW", "ReadAhead", "cut", "windowed_order"]

SLAB: Final = 2048  # cells
WINDOW: Final = 32 * SLAB  # cells that an epoch shuffles together

Integers = np.ndarray[Any, np.dtype[np.int64]]
Slab = dict[str, Any]  # the rows of each array that is on disk


def cut(start: int, stop: int, block: int) -> list[tuple[int, int]]:
    """Slabs of a sample's cells `start` to `stop`: whole blocks, about `SLAB` cells each."""
    size = block * max(1, SLAB // block)
    return [(at, min(at + size, stop)) for at in range(start, stop, size)]


def windowed_order(sizes: Integers, slab_of_block: Integers, rng: np.random.Generator) -> Integers:
    """A random order of blocks that stays within one window of slabs at a time.

    Parameters
    ----------
    sizes
        Cells of each slab.
    slab_of_block
        Slab of each block.
    rng
        Draws the slabs of each window and the order inside it. Where all cells fit in one window,
        the order is a plain permutation of the blocks.
    """
    order = rng.permutation(len(slab_of_block))
    total = int(sizes.sum())
    windows = -(-total // WINDOW)
    if windows <= 1:
        return order
    slabs = rng.permutation(len(sizes))
    before = np.cumsum(sizes[slabs]) - sizes[slabs]
    window_of_slab = np.empty(len(sizes), dtype=np.int64)
    window_of_slab[slabs] = before * windows // total
    return order[np.argsort(window_of_slab[slab_of_block[order]], kind="stable")]


@final
class ReadAhead:
    """Holds the slabs of a store on disk that the coming steps need.

    Parameters
    ----------
    store
        A store whose arrays are on disk.
    block
        Cells of a block; slabs are cut as `cut` does.
    ahead
        Steps before its first use that a slab is asked for.

    Attributes
    ----------
    store
        The same store; rows of held slabs come from memory, all others from disk.
    """

    def __init__(self, store: CohortStore, block: int, ahead: int) -> None:
        on_disk = {"rna": store.rna, "protein": store.protein}
        self._arrays: dict[str, RowArray] = {k: v for k, v in on_disk.items() if v is not None}
        samples = zip(store.samples["start"], store.samples["stop"], strict=True)
        edges = sorted(edge for start, stop in samples for edge in cut(start, stop, block))
        self._starts = np.array([start for start, _ in edges], dtype=np.int64)
        self._stops = np.array([stop for _, stop in edges], dtype=np.int64)
        self._ahead = ahead
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._uses: list[tuple[int, int, int]] = []  # first step, last step, slab
        self._step = self._next = 0  # the step being read, and the next of `_uses`
        self._open: list[tuple[int, int]] = []  # last step, slab
        self._users: Counter[int] = Counter()
        self._held: dict[int, Future[Slab]] = {}
        protein = None if store.protein is None else _HeldRows(self, "protein")
        self.store = replace(store, rna=_HeldRows(self, "rna"), protein=protein)

    def plan(self, steps: Sequence[Sequence[Integers]]) -> None:
        """Say which cells each member reads at each step of the coming epoch."""
        self._uses = sorted(use for of_member in steps for use in self._uses_of(of_member))
        self._begin()

    def advance(self, step: int) -> None:
        """Before a step is read: let go of slabs that are done with, and ask for the next ones."""
        if step < self._step:  # the same epoch once more
            self._begin()
        self._step = step
        while self._next < len(self._uses) and self._uses[self._next][0] <= step + self._ahead:
            _, last, slab = self._uses[self._next]
            self._next += 1
            if last < step:
                continue
            self._open.append((last, slab))
            self._users[slab] += 1
            if slab not in self._held:
                self._held[slab] = self._thread.submit(self._read, slab)
        for last, slab in [use for use in self._open if use[0] < step]:
            self._open.remove((last, slab))
            self._users[slab] -= 1
            if not self._users[slab]:
                self._held.pop(slab).cancel()

    @property
    def held(self) -> int:
        """Number of slabs in memory, or on their way there."""
        return len(self._held)

    def rows(self, name: str, start: int, stop: int) -> Any:
        """Rows of one array: from the slabs where they are held, else from disk."""
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        parts = []
        for slab in range(first, len(self._starts)):
            low, high = max(start, int(self._starts[slab])), min(stop, int(self._stops[slab]))
            if slab not in self._held or low >= high:
                return self._arrays[name][start:stop]
            offset = int(self._starts[slab])
            parts.append(self._held[slab].result()[name][low - offset : high - offset])
            if high == stop:
                break
        if len(parts) == 1:
            return parts[0]
        if sparse.issparse(parts[0]):
            return sparse.vstack(parts, format="csr")
        return np.concatenate(parts)

    def _begin(self) -> None:
        """Forget what is held and start at the first step."""
        for waiting in self._held.values():
            waiting.cancel()
        self._step = self._next = 0
        self._open, self._users, self._held = [], Counter(), {}

    def _uses_of(self, steps: Sequence[Integers]) -> Iterator[tuple[int, int, int]]:
        """First step, last step and number of each slab that a member reads."""
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for step, rows in enumerate(steps):
            for slab in np.unique(np.searchsorted(self._starts, rows, side="right") - 1).tolist():
                first.setdefault(slab, step)
                last[slab] = step
        for slab, begin in first.items():
            yield begin, last[slab], slab

    def _read(self, slab: int) -> Slab:
        start, stop = int(self._starts[slab]), int(self._stops[slab])
        return {name: array[start:stop] for name, array in self._arrays.items()}


@final
class _HeldRows:
    """One array of the store, read through `ReadAhead`."""

    def __init__(self, reader: ReadAhead, name: str) -> None:
        self._reader = reader
        self._name = name

    @property
    def shape(self) -> tuple[int, ...]:
        return self._reader._arrays[self._name].shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._reader._arrays[self._name].dtype

    def __getitem__(self, rows: slice, /) -> Any:
        return self._reader.rows(self._name, rows.start, rows.stop)
