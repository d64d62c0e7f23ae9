"""Proteins and named genes that new data lack, as the decoder expects them, for heads to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final, overload

import numpy as np
import torch

from recart.contracts import CellBatch
from recart.data.bag_markers import GENE_SUM, BagMarkers
from recart.data.batches import gather
from recart.data.features import BoundFeatures
from recart.data.names.gene_places import gene_places
from recart.data.rows import pieces, read_rows
from recart.data.store import CohortStore
from recart.models.expected_logs import (
    expected_log_count,
    expected_log_protein,
    unmasked_profile,
)
from recart.models.filled_genes import with_missing_genes
from recart.models.totalvi import TotalVIStack

__all__ = ["ImputedMarkers", "imputable_genes", "lacks_proteins"]

Array = np.ndarray[Any, Any]
Floats = np.ndarray[Any, np.dtype[np.float32]]

_CHUNK: Final = 1024
# Bytes a member keeps: each has its own, and a job has many; the rest is decoded when it is read.
_KEPT: Final = 1 << 28


def lacks_proteins(bound: BoundFeatures, store: CohortStore) -> Array:
    """(s) whether a sample lacks a protein that the member was trained with."""
    seen = bound.features.protein_seen
    measured = np.zeros((len(store.samples), len(seen)), dtype=bool)
    there = bound.proteins >= 0
    if store.protein is not None:
        measured[:, there] = store.protein_measured[:, bound.proteins[there]]
    return np.asarray((~measured[:, seen]).any(axis=1))


def imputable_genes(
    bound: BoundFeatures, store: CohortStore, named: Sequence[str]
) -> tuple[Array, Array]:
    """Which of the named genes the store lacks and the member decodes, and where it has them."""
    spec = bound.features.spec
    places = gene_places(named, spec.genes, spec.gene_ids)
    lacking = np.flatnonzero((gene_places(named, store.genes, store.gene_ids) < 0) & (places >= 0))
    return lacking, places[lacking]


@final
class ImputedMarkers(Sequence[Floats]):
    """(c, p) markers of each bag, with what the member's data have and these lack filled in.

    Columns are the member's proteins, then the named genes. In cells of samples that lack proteins
    of the member, these are what its decoder expects of the cell, and the mean that every protein
    is relative to is over all of them. Named genes that the store lacks are the expected logarithm
    of a count like those of other genes. Everything else is as `BagMarkers` has it.
    """

    def __init__(
        self,
        markers: BagMarkers,
        stack: TotalVIStack,
        bound: BoundFeatures,
        store: CohortStore,
        cells: Sequence[Array],
        named: Sequence[str],
    ) -> None:
        self._markers = markers
        self._stack = stack
        self._bound = bound
        self._store = store
        self._cells = list(cells)
        self._lacking = lacks_proteins(bound, store)
        self._genes, self._places = imputable_genes(bound, store, named)
        self._kept: dict[int, Floats] = {}
        self._left = _KEPT

    def __len__(self) -> int:
        return len(self._cells)

    @overload
    def __getitem__(self, at: int) -> Floats: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Floats]: ...

    def __getitem__(self, at: int | slice) -> Floats | Sequence[Floats]:
        """One bag's markers; or those of a range of the bags."""
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        if at in self._kept:
            return self._kept[at]
        found = self._filled(at)
        if found.nbytes <= self._left:
            self._left -= found.nbytes
            self._kept[at] = found
        return found

    def _filled(self, n: int) -> Floats:
        cells, given = self._cells[n], self._markers[n]
        genes = given[:, len(self._store.proteins) :]
        panel = len(self._bound.proteins)
        here = np.flatnonzero(self._bound.proteins >= 0)
        found = np.full((len(given), panel + genes.shape[1]), np.nan, dtype=np.float32)
        found[:, here] = given[:, self._bound.proteins[here]]
        found[:, panel:] = genes
        lacking = self._lacking[self._store.cells["sample"].to_numpy()[cells]]
        rows = np.arange(len(cells)) if len(self._genes) else np.flatnonzero(lacking)
        for part in pieces(rows, _CHUNK):
            batch = self._gathered(cells[part])
            own = part[lacking[part]]
            if len(own):
                found[own, :panel] = self._proteins(batch, cells[part], here)[lacking[part]]
            if len(self._genes):
                found[np.ix_(part, panel + self._genes)] = self._expected_genes(batch, cells[part])
        return found

    def _gathered(self, cells: Array) -> CellBatch:
        device = self._stack.log_protein_theta.device
        batch = gather(self._store, [self._bound], [cells], width=len(cells)).to(device)
        return with_missing_genes(self._stack, batch)

    @torch.no_grad()
    def _proteins(self, batch: CellBatch, cells: Array, here: Array) -> Floats:
        """Log counts less their mean over all of the member's proteins, missing ones expected."""
        logs: Floats = expected_log_protein(self._stack, batch)[0].cpu().numpy()
        if self._store.protein is not None:
            there = self._bound.proteins[here]
            sample = self._store.cells["sample"].to_numpy()[cells]
            measured = self._store.protein_measured[sample][:, there]
            counts = read_rows(self._store.protein, cells)[:, there].astype(np.float32)
            logs[:, here] = np.where(measured, np.log1p(counts), logs[:, here])
        logs[:, ~self._bound.features.protein_seen] = 0  # no training cell showed one
        return np.asarray(logs - logs.mean(axis=1, keepdims=True))

    @torch.no_grad()
    def _expected_genes(self, batch: CellBatch, cells: Array) -> Floats:
        """Expected `log(1 + count per GENE_SUM)`, or the value where those are normalised."""
        place = torch.from_numpy(self._places).to(batch.weight_mb.device)
        if self._store.normalised:
            return np.asarray(unmasked_profile(self._stack, batch)[0][:, place].cpu())
        total = self._store.cells["n_counts"].to_numpy()[cells].astype(np.float64)
        unit = GENE_SUM * self._bound.depth_share / np.maximum(total, 1)
        unit_b1 = torch.from_numpy(unit).to(place.device, torch.float32).unsqueeze(-1)
        return np.asarray(expected_log_count(self._stack, batch, place, unit_b1).cpu())
