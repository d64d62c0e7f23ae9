"""Markers of a bag's cells: log-normalised proteins and named genes, NaN where not measured."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final, final, overload

import numpy as np

from recart.data.bags import Bags
from recart.data.features import BoundFeatures
from recart.data.names.gene_places import gene_places
from recart.data.rows import pieces, read_rows
from recart.data.store import CohortStore
from recart.problems import InputError, Problem

__all__ = ["GENE_SUM", "BagMarkers", "check_marker_genes", "marker_names"]

Floats = np.ndarray[Any, np.dtype[np.float32]]

GENE_SUM: Final = 1e4  # counts that a cell has after normalisation


def check_marker_genes(store: CohortStore, genes: Sequence[str]) -> None:
    """Refuse named genes that the store lacks, as the transgenes of a CAR, which are kept apart.

    Raises
    ------
    InputError
        Naming each of them, and the nearest gene.
    """
    places = gene_places(genes, store.genes, store.gene_ids)
    missing = [gene for gene, at in zip(genes, places, strict=True) if at < 0]
    if missing:
        raise InputError(
            Problem(
                code="E-MARK-001",
                feature=gene,
                what="the named gene is not among the genes",
                mend=f"nearest: {get_close_matches(gene, store.genes, 3) or 'none'}; "
                "set data.marker_genes",
            )
            for gene in missing
        )


def marker_names(store: CohortStore, bags: Bags) -> tuple[str, ...]:
    """`protein:CD3` for every protein of the store, then `gene:BCL2` for every named gene."""
    genes = [f"gene:{name}" for name in bags.reading.marker_genes]
    return (*(f"protein:{name}" for name in store.proteins), *genes)


@final
class BagMarkers(Sequence[Floats]):
    """(c, p) float32 markers of each bag in `rows`, computed when one is asked for, then kept.

    They are kept with the store: every member of a process reads the same arrays, and a head that
    reads no markers costs nothing. Each cell's values follow from its own counts alone:

    - a protein is log1p of its count, less the mean of that over the member's proteins that the
      sample's panel has (the centred log ratio within the cell); NaN where the panel lacks it;
    - a gene is log1p of its count per 10,000 of the cell, or the value itself where the store holds
      normalised ones; NaN where the store lacks the gene.

    Where features of the member are missing, as in another panel, both are what they would be of a
    whole cell of usual levels: a cell's counts are taken for the share of them that the genes at
    hand usually have, and the mean over proteins is moved by what the missing ones usually add.

    Parameters
    ----------
    store, bags, rows
        The store, its bags, and row numbers of `bags.table`.
    bound
        The features of the member that reads the markers.
    """

    def __init__(
        self, store: CohortStore, bags: Bags, rows: Sequence[int], bound: BoundFeatures
    ) -> None:
        self._store = store
        self._bags = bags
        self._rows = [int(n) for n in rows]
        self._bound = bound
        self._panel = bound.proteins[bound.proteins >= 0]
        self._moved_s = _panel_shifts(store, bound)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> Floats: ...

    @overload
    def __getitem__(self, at: slice) -> BagMarkers: ...

    def __getitem__(self, at: int | slice) -> Floats | BagMarkers:
        """One bag's markers; or those of a range of the bags."""
        if isinstance(at, slice):
            return BagMarkers(self._store, self._bags, self._rows[at], self._bound)
        own = self._bags.slices[self._rows[at]]
        genes = self._bags.reading.marker_genes
        cells = self._bags.cells([self._rows[at]])
        slices = tuple((part.start, part.stop) for part in own)
        key = (genes, self._panel.tobytes(), slices)
        kept = self._store.markers_of
        if key not in kept:
            kept[key] = _markers(self._store, cells, genes, self._panel)
        return self._of_whole_cells(kept[key], cells)

    def _of_whole_cells(self, found: Floats, cells: np.ndarray[Any, Any]) -> Floats:
        """Markers as they would be if nothing were missing; as they are where nothing is."""
        panel, share = len(self._store.proteins), self._bound.depth_share
        moved = self._moved_s[self._store.cells["sample"].to_numpy()[cells]]
        if not moved.any() and (share == 1 or self._store.normalised):
            return found
        found = found.copy()
        found[:, :panel] += moved[:, None]
        if not self._store.normalised:
            found[:, panel:] = np.log1p(np.expm1(found[:, panel:]) * np.float32(share))
        return found


def _panel_shifts(store: CohortStore, bound: BoundFeatures) -> Floats:
    """(s) usual mean log count of the sample's panel less that of all the member's proteins."""
    usual = bound.features.levels.protein_log.astype(np.float64)
    there = bound.proteins >= 0
    measured = np.zeros((len(store.samples), len(usual)), dtype=bool)
    if store.protein is not None:
        measured[:, there] = store.protein_measured[:, bound.proteins[there]]
    partly = measured.any(axis=1) & ~measured.all(axis=1)
    mean = (measured * usual).sum(axis=1) / np.maximum(measured.sum(axis=1), 1)
    whole = usual.mean() if len(usual) else 0.0
    shifts: Floats = np.where(partly, mean - whole, 0).astype(np.float32)
    return shifts


def _markers(
    store: CohortStore,
    cells: np.ndarray[Any, Any],
    genes: Sequence[str],
    panel_of_member: np.ndarray[Any, Any],
) -> Floats:
    columns = gene_places(genes, store.genes, store.gene_ids)
    panel = len(store.proteins)
    found = np.full((len(cells), panel + len(genes)), np.nan, dtype=np.float32)
    done = 0
    for rows in pieces(cells):
        own = slice(done, done + len(rows))
        done += len(rows)
        if store.protein is not None:
            sample = store.cells["sample"].to_numpy()[rows]
            found[own, :panel] = _centred(
                read_rows(store.protein, rows), store.protein_measured[sample], panel_of_member
            )
        there = columns >= 0
        if there.any():
            values = read_rows(store.rna, rows)[:, columns[there]].toarray().astype(np.float64)
            if not store.normalised:
                total = store.cells["n_counts"].to_numpy()[rows].astype(np.float64)
                values = np.log1p(values * (GENE_SUM / np.maximum(total, 1))[:, None])
            found[own, panel + np.flatnonzero(there)] = values
    return found


def _centred(
    counts: np.ndarray[Any, Any], measured: np.ndarray[Any, Any], among: np.ndarray[Any, Any]
) -> Floats:
    """log1p counts less their mean over the proteins `among` that were measured in the cell."""
    logs = np.where(measured, np.log1p(counts.astype(np.float32)), 0)
    mean = logs[:, among].sum(axis=1) / np.maximum(measured[:, among].sum(axis=1), 1)
    centred: Floats = np.where(measured, logs - mean[:, None], np.nan).astype(np.float32)
    return centred
