"""A store whose arrays lie on the device: minibatches are gathered there, the host sends rows only.

A small encoder takes a card less time per step than a processor takes to gather the step's cells.
Nothing here asks the device for a value, so the host is never kept waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from recart.contracts import CellBatch, SparseRows
from recart.data.features import BoundFeatures
from recart.data.store import CohortStore

__all__ = ["DeviceStore", "DeviceView", "bytes_on_device"]

_SPARE = 0.1  # of the entries of a minibatch


def _small(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The smallest type that torch computes with and that holds these values."""
    if values.dtype.kind == "f" or not values.size:
        return values.astype(np.float32, copy=False)
    least, most = values.min(), values.max()
    for kind in (np.uint8, np.int16, np.int32):
        if np.iinfo(kind).min <= least and most <= np.iinfo(kind).max:
            return values.astype(kind, copy=False)
    return values.astype(np.float32)


def bytes_on_device(store: CohortStore) -> int:
    """Memory that the arrays of a store in memory take, estimated from above."""
    per_value = 4 + 4  # place and value
    protein = 0 if store.protein is None else 4 * int(np.prod(store.protein.shape))
    receptor = 0 if store.receptor is None else store.receptor.nbytes
    nonzeros = int(getattr(store.rna, "nnz", 0))
    return per_value * nonzeros + protein + receptor + 32 * len(store.cells)


@final
class DeviceStore:
    """The arrays of a store that is in memory, copied to `device`.

    Raises
    ------
    ValueError
        If the store's cells lie on disk.
    """

    def __init__(self, store: CohortStore, device: torch.device | str) -> None:
        if not sparse.issparse(store.rna):
            raise ValueError("a store whose cells lie on disk can't be held on a device")
        self.store = store
        self.device = torch.device(device)
        rna: Any = store.rna
        self.start = rna.indptr.astype(np.int64)  # stays here: tells sizes without asking

        def sent(values: np.ndarray[Any, Any]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

        self.start_d, self.gene, self.value = (
            sent(self.start),
            sent(rna.indices),
            sent(_small(rna.data)),
        )
        cells, samples = store.cells, store.samples
        self.sample = sent(cells["sample"].to_numpy().astype(np.int64))
        self.protein = None if store.protein is None else sent(_small(np.asarray(store.protein[:])))
        self.measured = sent(store.protein_measured)
        self.receptor: Tensor | None = None
        if store.receptor is not None and store.clones is not None:
            none = np.zeros((1, store.receptor.shape[1]), dtype=np.float32)
            known = np.append(store.clones["known"].to_numpy(dtype=bool), False)
            self.receptor = sent(np.concatenate([store.receptor, none]))  # -1 reads the last
            self.known = sent(known)
            self.clone = sent(cells["clone"].to_numpy().astype(np.int64))
            self.clone_weight = sent(store.clone_weight)
            self.sequenced = sent(samples["has_receptor"].to_numpy(dtype=bool))


@final
class DeviceView:
    """What a stack of members sees of a `DeviceStore`: their genes, proteins and batches."""

    def __init__(self, store: DeviceStore, bound: Sequence[BoundFeatures]) -> None:
        self.store = store
        whole = store.store
        self.genes = max(len(own.genes) for own in bound)
        self.proteins = len(bound[0].proteins)
        self.batches = max(len(own.features.spec.batches) for own in bound)
        self.receptor_dim = max(own.features.spec.receptor_dim for own in bound)
        place = np.full((len(bound), len(whole.genes)), -1, dtype=np.int64)
        x_mask = np.zeros((len(bound), self.genes), dtype=bool)
        for m, own in enumerate(bound):
            there = own.genes >= 0
            place[m, own.genes[there]] = np.flatnonzero(there)
            x_mask[m, : len(own.genes)] = there
        has = np.stack([(own.proteins >= 0) & own.features.protein_seen for own in bound])
        protein = np.stack([np.maximum(own.proteins, 0) for own in bound])
        batch = np.stack([own.batch_of_sample for own in bound])

        def sent(values: np.ndarray[Any, Any]) -> Tensor:
            return torch.from_numpy(values).to(store.device)

        self.place, self.x_mask, self.has = sent(place), sent(x_mask), sent(has)
        self.capacity = 0  # entries of a minibatch, the largest yet and some to spare
        self.protein, self.batch = sent(protein.astype(np.int64)), sent(batch.astype(np.int64))

    def gather(self, rows: Sequence[np.ndarray[Any, Any]], width: int) -> CellBatch:
        """One minibatch, equal to `recart.data.batches.gather`: `rows[m]` padded to `width`."""
        padded = np.full((len(rows), width), -1, dtype=np.int64)
        for own, cells in zip(padded, rows, strict=True):
            own[: len(cells)] = cells
        row_mb = torch.from_numpy(padded).to(self.store.device, non_blocking=True)
        there_mb = row_mb >= 0
        row_mb = row_mb.clamp_min(0)
        sample_mb = self.store.sample[row_mb]
        member_m1 = torch.arange(len(rows), device=row_mb.device).unsqueeze(-1)
        batch_mb = self.batch[member_m1, sample_mb]
        categories = torch.arange(self.batches, device=row_mb.device)
        one_hot = (batch_mb.unsqueeze(-1) == categories) & there_mb.unsqueeze(-1)
        y, y_mask = self._proteins(row_mb, sample_mb, there_mb)
        r, r_mask, r_measured, r_weight = self._receptors(row_mb, sample_mb, there_mb)
        return CellBatch(
            x=self._rna(padded, row_mb, there_mb),
            x_mask_mg=self.x_mask,
            x_seen_mb=there_mb,
            y_mba=y,
            y_mask_mba=y_mask,
            r_mbt=r,
            r_mask_mb=r_mask,
            r_measured_mb=r_measured,
            r_weight_mb=r_weight,
            batch_mbe=one_hot.float(),
            weight_mb=there_mb.float(),
            active=tuple(len(cells) > 0 for cells in rows),
        )

    def _rna(self, rows: np.ndarray[Any, Any], row_mb: Tensor, there_mb: Tensor) -> SparseRows:
        """Non-zeros of the cells.

        Those of genes that were not chosen stay, as zeros of the first gene: to drop them, the host
        would have to wait for their number. Zeros of the last cell follow up to `capacity`, so that
        arrays are of one size in most steps.
        """
        store = self.store
        members, width = rows.shape
        flat = np.maximum(rows, 0).ravel()
        total = int(((store.start[flat + 1] - store.start[flat]) * (rows.ravel() >= 0)).sum())
        if total > self.capacity:
            self.capacity = int(total * (1 + _SPARE))
        row = row_mb.reshape(-1)
        length = (store.start_d[row + 1] - store.start_d[row]) * there_mb.reshape(-1)
        length[-1] += self.capacity - total
        row_start = torch.nn.functional.pad(length.cumsum(0), (1, 0))
        cells = torch.arange(members * width, device=row.device)
        row_n = torch.repeat_interleave(cells, length, output_size=self.capacity)
        place_n = torch.arange(self.capacity, device=row.device)
        last = max(0, len(store.gene) - 1)
        position_n = (store.start_d[row[row_n]] + place_n - row_start[row_n]).clamp_max(last)
        member_n = torch.div(row_n, width, rounding_mode="floor")
        gene_n = self.place[member_n, store.gene[position_n].long()]
        chosen = (gene_n >= 0) & (place_n < total)
        return SparseRows(
            shape=(members, width, self.genes),
            value_n=store.value[position_n].float() * chosen,
            row_n=row_n,
            column_n=member_n * self.genes + gene_n.clamp_min(0),
            row_start=row_start,
        )

    def _proteins(
        self, row_mb: Tensor, sample_mb: Tensor, there_mb: Tensor
    ) -> tuple[Tensor, Tensor]:
        if self.store.protein is None or self.proteins == 0:
            none = there_mb.new_zeros((*there_mb.shape, self.proteins))
            return none.float(), none
        column = self.protein.unsqueeze(1)
        measured = self.store.measured[sample_mb.unsqueeze(-1), column]
        mask = measured & self.has.unsqueeze(1) & there_mb.unsqueeze(-1)
        seen = self.has.unsqueeze(1) & there_mb.unsqueeze(-1)
        return self.store.protein[row_mb.unsqueeze(-1), column].float() * seen, mask

    def _receptors(
        self, row_mb: Tensor, sample_mb: Tensor, there_mb: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        store = self.store
        if store.receptor is None or self.receptor_dim == 0:
            none = torch.zeros_like(there_mb)
            r = none.unsqueeze(-1).float().expand(-1, -1, self.receptor_dim)
            return r, none, none, none.float()
        clone = store.clone[row_mb]
        known = store.known[clone] & there_mb
        return (
            store.receptor[clone] * known.unsqueeze(-1),
            known,
            store.sequenced[sample_mb] & there_mb,
            store.clone_weight[row_mb] * there_mb,
        )
