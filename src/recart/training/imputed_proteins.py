"""Proteins that a panel lacks, as the decoder expects them, in the markers that heads read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final, overload

import numpy as np
import torch

from recart.data.bag_markers import BagMarkers
from recart.data.batches import gather
from recart.data.features import BoundFeatures
from recart.data.rows import pieces, read_rows
from recart.data.store import CohortStore
from recart.models.totalvi import TotalVIStack

__all__ = ["ImputedProteins", "lacks_proteins"]

Floats = np.ndarray[Any, np.dtype[np.float32]]

_CHUNK = 1024


def lacks_proteins(bound: BoundFeatures, store: CohortStore) -> np.ndarray[Any, Any]:
    """(s) whether a sample lacks a protein that the member was trained with."""
    seen = bound.features.protein_seen
    measured = np.zeros((len(store.samples), len(seen)), dtype=bool)
    there = bound.proteins >= 0
    if store.protein is not None:
        measured[:, there] = store.protein_measured[:, bound.proteins[there]]
    return np.asarray((~measured[:, seen]).any(axis=1))


@final
class ImputedProteins(Sequence[Floats]):
    """(c, p) markers of each bag, with the member's missing proteins filled in.

    In cells of samples that lack proteins of the member, these are what its decoder expects of the
    cell, and the mean that every protein is relative to is over all of them. Other cells, and other
    markers, are as `BagMarkers` has them. Columns follow `names`.
    """

    def __init__(
        self,
        markers: BagMarkers,
        stack: TotalVIStack,
        bound: BoundFeatures,
        store: CohortStore,
        cells: Sequence[np.ndarray[Any, Any]],
    ) -> None:
        self._markers = markers
        self._stack = stack
        self._bound = bound
        self._store = store
        self._cells = list(cells)
        self._lacking = lacks_proteins(bound, store)
        self._kept: dict[int, Floats] = {}

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
        if at not in self._kept:
            self._kept[at] = self._filled(at)
        return self._kept[at]

    def _filled(self, n: int) -> Floats:
        cells = self._cells[n]
        given = self._markers[n]
        genes = given[:, len(self._store.proteins) :]
        panel = len(self._bound.proteins)
        here = np.flatnonzero(self._bound.proteins >= 0)
        there = self._bound.proteins[here]
        found = np.full((len(given), panel + genes.shape[1]), np.nan, dtype=np.float32)
        found[:, here] = given[:, there]
        found[:, panel:] = genes
        sample = self._store.cells["sample"].to_numpy()[cells]
        rows = np.flatnonzero(self._lacking[sample])
        for part in pieces(rows, _CHUNK):
            found[part, :panel] = self._centred(cells[part], sample[part], here, there)
        return found

    def _centred(
        self,
        cells: np.ndarray[Any, Any],
        sample: np.ndarray[Any, Any],
        here: np.ndarray[Any, Any],
        there: np.ndarray[Any, Any],
    ) -> Floats:
        """Log counts less their mean over all of the member's proteins, missing ones expected."""
        device = self._stack.log_protein_theta.device
        batch = gather(self._store, [self._bound], [cells], width=len(cells)).to(device)
        with torch.no_grad():
            logs = self._stack.expected_log_protein(batch)[0].cpu().numpy()
        if self._store.protein is not None:
            measured = self._store.protein_measured[sample][:, there]
            counts = read_rows(self._store.protein, cells)[:, there].astype(np.float32)
            logs[:, here] = np.where(measured, np.log1p(counts), logs[:, here])
        logs[:, ~self._bound.features.protein_seen] = 0  # no training cell showed one
        centred: Floats = logs - logs.mean(axis=1, keepdims=True)
        return centred
