"""Minibatches: a handful of blocks from several patients, drawn by each member for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch.utils.data import Dataset

from recart.contracts import CellBatch, SparseRows
from recart.data.features import BoundFeatures
from recart.data.store import CohortStore

__all__ = ["Blocks", "StackBatches", "gather"]

Rows = np.ndarray[Any, np.dtype[np.int64]]


class Blocks:
    """One member's cells as blocks of its samples; an epoch is a shuffled pass over the blocks.

    Cells are shuffled once inside each sample, so every block is a random draw from its sample,
    and reading it is sequential. The order of an epoch is a function of (seed, epoch) alone.
    """

    def __init__(self, slices: Sequence[slice], block: int, batch: int, seed: int) -> None:
        self.blocks = [
            (start, min(start + block, own.stop))
            for own in slices
            for start in range(own.start, own.stop, block)
        ]
        self.per_step = max(1, batch // block)
        self.width = self.per_step * block
        self.seed = seed

    def __len__(self) -> int:
        return -(-len(self.blocks) // self.per_step)

    def epoch(self, epoch: int | None) -> list[Rows]:
        """Cell rows of each step; in order where `epoch` is None."""
        order = np.arange(len(self.blocks))
        if epoch is not None:
            order = np.random.default_rng((self.seed, epoch)).permutation(order)
        return [
            np.concatenate([np.arange(*self.blocks[i]) for i in order[k : k + self.per_step]])
            for k in range(0, len(order), self.per_step)
        ]


class StackBatches(Dataset[CellBatch]):
    """The steps of an epoch of a stack: step `i` of every member that has one.

    A member with fewer cells finishes its epoch earlier and is inactive for the rest of it, so
    that its training is the same in any company.
    """

    def __init__(
        self,
        store: CohortStore,
        bound: Sequence[BoundFeatures],
        blocks: Sequence[Blocks],
        shuffled: bool,
    ) -> None:
        self.store = store
        self.bound = bound
        self.blocks = blocks
        self.shuffled = shuffled
        self.set_epoch(0, [True] * len(blocks))

    def set_epoch(self, epoch: int, active: Sequence[bool]) -> None:
        """Draw the order of this epoch; members that are not active take no step in it."""
        self.steps = [
            own.epoch(epoch if self.shuffled else None) if runs else []
            for own, runs in zip(self.blocks, active, strict=True)
        ]

    def __len__(self) -> int:
        return max(len(own) for own in self.blocks)

    @property
    def steps_in_epoch(self) -> int:
        """Steps until the last active member has finished this epoch."""
        return max(map(len, self.steps), default=0)

    def __getitem__(self, step: int) -> CellBatch:
        rows = [own[step] if step < len(own) else np.zeros(0, dtype=np.int64) for own in self.steps]
        # one width for all steps: what a member draws must not depend on its company
        return gather(self.store, self.bound, rows, width=self.blocks[0].width)


def gather(
    store: CohortStore, bound: Sequence[BoundFeatures], rows: Sequence[Rows], *, width: int
) -> CellBatch:
    """One minibatch: `rows[m]` are the cells of member `m`, padded to `width` rows."""
    members = len(rows)
    proteins = len(bound[0].proteins)
    batches = max(len(own.features.spec.batches) for own in bound)
    rna = [_chosen(store.rna, cells, own.genes) for own, cells in zip(bound, rows, strict=True)]
    y = np.zeros((members, width, proteins), dtype=np.float32)
    y_mask = np.zeros((members, width, proteins), dtype=bool)
    r = np.zeros((members, width, _receptor_dim(bound)), dtype=np.float32)
    r_mask, r_measured = np.zeros((2, members, width), dtype=bool)
    one_hot = np.zeros((members, width, batches), dtype=np.float32)
    weight = np.zeros((members, width), dtype=np.float32)
    for m, (own, cells) in enumerate(zip(bound, rows, strict=True)):
        n = len(cells)
        if n == 0:
            continue
        weight[m, :n] = 1.0
        sample = store.cells["sample"].to_numpy()[cells]
        if store.protein is not None:
            has = (own.proteins >= 0) & own.features.protein_seen
            a = np.flatnonzero(has)
            y[m, :n, a] = store.protein[cells][:, own.proteins[has]].T
            y_mask[m, :n, a] = store.protein_measured[sample][:, own.proteins[has]].T
        batch = own.batch_of_sample[sample]
        one_hot[m, np.flatnonzero(batch >= 0), batch[batch >= 0]] = 1.0
        if store.receptor is not None and store.clones is not None and r.shape[-1]:
            clone = store.cells["clone"].to_numpy()[cells]
            # -1, no clone, reads the last entry
            known = np.append(store.clones["known"].to_numpy(dtype=bool), False)[clone]
            r[m, np.flatnonzero(known)] = store.receptor[clone[known]]
            r_mask[m, :n] = known
            r_measured[m, :n] = store.samples["has_receptor"].to_numpy()[sample]
    return CellBatch(
        x=SparseRows.from_csr(rna, width),
        x_mask_mg=torch.from_numpy(np.stack([own.genes >= 0 for own in bound])),
        y_mba=torch.from_numpy(y),
        y_mask_mba=torch.from_numpy(y_mask),
        r_mbt=torch.from_numpy(r),
        r_mask_mb=torch.from_numpy(r_mask),
        r_measured_mb=torch.from_numpy(r_measured),
        batch_mbe=torch.from_numpy(one_hot),
        weight_mb=torch.from_numpy(weight),
        active=tuple(len(cells) > 0 for cells in rows),
    )


def _receptor_dim(bound: Sequence[BoundFeatures]) -> int:
    return max(own.features.spec.receptor_dim for own in bound)


def _chosen(rna: sparse.csr_matrix, cells: Rows, genes: np.ndarray[Any, Any]) -> sparse.csr_matrix:
    """The chosen genes of these cells, in one pass over their non-zeros."""
    position = np.full(rna.shape[1], -1, dtype=np.int32)
    position[genes[genes >= 0]] = np.flatnonzero(genes >= 0)
    own = _rows(rna, cells)
    column = position[own.indices]
    keep = column >= 0
    if keep.all():
        start, value = own.indptr, own.data
    else:
        kept = np.concatenate(([0], np.cumsum(keep)))
        start, value, column = kept[own.indptr], own.data[keep], column[keep]
    return sparse.csr_matrix((value, column, start), shape=(len(cells), len(genes)))


def _rows(rna: sparse.csr_matrix, cells: Rows) -> sparse.csr_matrix:
    """These rows; runs of neighbours are copied whole."""
    if not len(cells):
        return rna[:0]
    breaks = np.flatnonzero(np.diff(cells) != 1) + 1
    runs = np.split(cells, breaks)
    return sparse.vstack([rna[run[0] : run[-1] + 1] for run in runs], format="csr")
