"""Minibatches: a handful of blocks from several patients, drawn by each member for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch.utils.data import Dataset

from recart.contracts import CellBatch, SparseRows
from recart.data.device_store import DeviceStore, DeviceView
from recart.data.features import BoundFeatures
from recart.data.rows import RowArray, read_rows
from recart.data.store import CohortStore
from recart.data.streaming import WINDOW, ReadAhead, cut, windowed_order

__all__ = ["Blocks", "StackBatches", "gather"]

Rows = np.ndarray[Any, np.dtype[np.int64]]


class Blocks:
    """One member's cells as blocks of its samples; an epoch is a shuffled pass over the blocks.

    Cells are shuffled once inside each sample, so every block is a random draw from its sample,
    and reading it is sequential. The order of an epoch is a function of (seed, epoch) alone, and
    stays within one window of slabs at a time, see `recart.data.streaming`.
    """

    def __init__(self, slices: Sequence[slice], block: int, batch: int, seed: int) -> None:
        slabs = [slab for own in slices for slab in cut(own.start, own.stop, block)]
        self.blocks = [
            (at, min(at + block, stop)) for start, stop in slabs for at in range(start, stop, block)
        ]
        self.slab_sizes = np.array([stop - start for start, stop in slabs], dtype=np.int64)
        self.slab_of_block = np.repeat(np.arange(len(slabs)), -(-self.slab_sizes // block))
        self.block = block
        self.per_step = max(1, batch // block)
        self.width = self.per_step * block
        self.seed = seed

    def __len__(self) -> int:
        return -(-len(self.blocks) // self.per_step)

    def epoch(self, epoch: int | None) -> list[Rows]:
        """Cell rows of each step; in order where `epoch` is None."""
        order = np.arange(len(self.blocks))
        if epoch is not None:
            rng = np.random.default_rng((self.seed, epoch))
            order = windowed_order(self.slab_sizes, self.slab_of_block, rng)
        return [
            np.concatenate([np.arange(*self.blocks[i]) for i in order[k : k + self.per_step]])
            for k in range(0, len(order), self.per_step)
        ]


class StackBatches(Dataset[CellBatch]):
    """The steps of an epoch of a stack: step `i` of every member that has one.

    A member with fewer cells finishes its epoch earlier and is inactive for the rest of it, so
    that its training is the same in any company. A store on disk is read ahead of the steps, which
    are then best taken in order.

    Parameters
    ----------
    store, bound
        Cells, and the features of each member bound to them.
    blocks
        Each member's cells.
    shuffled
        Whether epochs differ in their order.
    part
        (i, n): the `i`-th of `n` processes that share every minibatch takes its own rows of it.

    Attributes
    ----------
    rows, width
        The rows of a whole minibatch that are this process's own, and how many a whole one has.

    Raises
    ------
    ValueError
        If a minibatch has fewer rows than there are processes.
    """

    def __init__(
        self,
        store: CohortStore,
        bound: Sequence[BoundFeatures],
        blocks: Sequence[Blocks],
        shuffled: bool,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.store = store
        self.bound = bound
        self.blocks = blocks
        self.shuffled = shuffled
        self.width = blocks[0].width
        first, parts = part
        if self.width < parts:
            raise ValueError(f"{parts} processes can't share minibatches of {self.width} cells")
        self.rows = slice(self.width * first // parts, self.width * (first + 1) // parts)
        self.reader = None
        if store.path is not None:
            self.reader = ReadAhead(store, blocks[0].block, WINDOW // (2 * blocks[0].width))
            self.store = self.reader.store
        self.view: DeviceView | None = None
        self.length = max(len(own) for own in blocks)
        self._first = self._begin = 0  # steps that are left out: of this epoch, of the next
        self.set_epoch(0, [True] * len(blocks))

    def set_epoch(self, epoch: int, active: Sequence[bool]) -> None:
        """Draw the order of this epoch; members that are not active take no step in it."""
        whole = [
            own.epoch(epoch if self.shuffled else None) if runs else []
            for own, runs in zip(self.blocks, active, strict=True)
        ]
        self._first, self._begin = self._begin, 0
        self.cells = [[len(rows) for rows in own] for own in whole]
        self.steps = [[rows[self.rows] for rows in own] for own in whole]
        if self.reader is not None:
            self.reader.plan(self.steps)

    def begin_at(self, step: int) -> None:
        """In the next epoch that is set, steps before this one were taken already: leave them out.

        They are minibatches without cells, in which no member is active.
        """
        self._begin = step

    def hold(self, store: DeviceStore) -> None:
        """Gather minibatches on the device of `store`, which holds the same cells."""
        self.view = DeviceView(store, self.bound)

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members alone; the length stays, for who has asked for it before."""
        self.bound = [self.bound[m] for m in members]
        self.blocks = [self.blocks[m] for m in members]
        self.cells = [self.cells[m] for m in members]
        self.steps = [self.steps[m] for m in members]
        if self.reader is not None:
            self.reader.plan(self.steps)
        if self.view is not None:
            self.view = DeviceView(self.view.store, self.bound)

    def __len__(self) -> int:
        return self.length

    @property
    def steps_in_epoch(self) -> int:
        """Steps until the last active member has finished this epoch."""
        return max(map(len, self.steps), default=0)

    def __getitem__(self, step: int) -> CellBatch:
        if step < self._first:
            nothing = [np.zeros(0, dtype=np.int64)] * len(self.blocks)
            return gather(self.store, self.bound, nothing, width=0)
        if self.reader is not None:
            self.reader.advance(step)
        rows = self.rows_of(step)
        # one width for all steps: what a member draws must not depend on its company
        width = self.rows.stop - self.rows.start
        if self.view is not None:
            batch = self.view.gather(rows, width)
        else:
            batch = gather(self.store, self.bound, rows, width=width)
        # of a short minibatch all cells may be another process's
        return replace(batch, active=tuple(step < len(own) for own in self.steps))

    def rows_of(self, step: int) -> list[Rows]:
        """Cell rows of each member in this process's part of a step; none where it is inactive."""
        nothing = np.zeros(0, dtype=np.int64)
        return [own[step] if step < len(own) else nothing for own in self.steps]

    def cells_of(self, step: int) -> list[int]:
        """Cells of each member in the whole minibatch of a step, over all processes."""
        return [own[step] if step < len(own) else 0 for own in self.cells]


def gather(
    store: CohortStore, bound: Sequence[BoundFeatures], rows: Sequence[Rows], *, width: int
) -> CellBatch:
    """One minibatch: `rows[m]` are the cells of member `m`, padded to `width` rows.

    Members of fewer genes than others get masked ones at the end.
    """
    members = len(rows)
    genes = max(len(own.genes) for own in bound)
    proteins = len(bound[0].proteins)
    batches = max(len(own.features.spec.batches) for own in bound)
    rna = [
        _chosen(store.rna, cells, own.genes, genes) for own, cells in zip(bound, rows, strict=True)
    ]
    x_mask = np.zeros((members, genes), dtype=bool)
    y = np.zeros((members, width, proteins), dtype=np.float32)
    y_mask = np.zeros((members, width, proteins), dtype=bool)
    r = np.zeros((members, width, _receptor_dim(bound)), dtype=np.float32)
    r_mask, r_measured = np.zeros((2, members, width), dtype=bool)
    r_weight = np.zeros((members, width), dtype=np.float32)
    one_hot = np.zeros((members, width, batches), dtype=np.float32)
    weight = np.zeros((members, width), dtype=np.float32)
    for m, (own, cells) in enumerate(zip(bound, rows, strict=True)):
        x_mask[m, : len(own.genes)] = own.genes >= 0
        n = len(cells)
        if n == 0:
            continue
        weight[m, :n] = 1.0
        sample = store.cells["sample"].to_numpy()[cells]
        if store.protein is not None:
            has = (own.proteins >= 0) & own.features.protein_seen
            a = np.flatnonzero(has)
            y[m, :n, a] = read_rows(store.protein, cells)[:, own.proteins[has]].T
            y_mask[m, :n, a] = store.protein_measured[sample][:, own.proteins[has]].T
        batch = own.batch_of_sample[sample]
        one_hot[m, np.flatnonzero(batch >= 0), batch[batch >= 0]] = 1.0
        if store.receptor is not None and store.clones is not None and r.shape[-1]:
            clone = store.cells["clone"].to_numpy()[cells]
            known = clone >= 0
            known[known] = store.clones["known"].to_numpy(dtype=bool)[clone[known]]
            r[m, np.flatnonzero(known)] = store.receptor[clone[known]]
            r_mask[m, :n] = known
            r_weight[m, :n] = store.clone_weight[cells]
            r_measured[m, :n] = store.samples["has_receptor"].to_numpy()[sample]
    return CellBatch(
        x=SparseRows.from_csr(rna, width),
        x_mask_mg=torch.from_numpy(x_mask),
        x_seen_mb=torch.from_numpy(weight > 0),
        y_mba=torch.from_numpy(y),
        y_mask_mba=torch.from_numpy(y_mask),
        r_mbt=torch.from_numpy(r),
        r_mask_mb=torch.from_numpy(r_mask),
        r_measured_mb=torch.from_numpy(r_measured),
        r_weight_mb=torch.from_numpy(r_weight),
        batch_mbe=torch.from_numpy(one_hot),
        weight_mb=torch.from_numpy(weight),
        active=tuple(len(cells) > 0 for cells in rows),
    )


def _receptor_dim(bound: Sequence[BoundFeatures]) -> int:
    return max(own.features.spec.receptor_dim for own in bound)


def _chosen(
    rna: RowArray, cells: Rows, genes: np.ndarray[Any, Any], width: int
) -> sparse.csr_matrix:
    """The chosen genes of these cells, in one pass over their non-zeros."""
    position = np.full(rna.shape[1], -1, dtype=np.int32)
    position[genes[genes >= 0]] = np.flatnonzero(genes >= 0)
    own = read_rows(rna, cells)
    column = position.take(own.indices)
    keep = column >= 0
    if keep.all():
        start, value = own.indptr, own.data
    else:
        kept = np.concatenate(([0], np.cumsum(keep)))
        start, value, column = kept[own.indptr], own.data[keep], column[keep]
    chosen = sparse.csr_matrix((value, column, start), shape=(len(cells), width))
    in_order = (np.diff(genes[genes >= 0]) > 0).all()
    return chosen if in_order else chosen.sorted_indices()  # sums are to the bit in any order
