"""How much of a cell's counts each gene and protein makes up: what others can stand in for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from recart.data.rows import pieces, read_rows
from recart.data.store import CohortStore

__all__ = ["FeatureLevels"]

_CELLS: Final = 4096  # enough for means; drawn from the training cells

Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, kw_only=True)
class FeatureLevels:
    """Levels of a member's genes (g) and proteins (a) in its training cells.

    Attributes
    ----------
    gene_weight, protein_weight
        Mean count over the mean of these over all genes, or all proteins: 1 on average. A depth
        that is measured on some of them is divided by their weights, not by their number.
    protein_log
        Mean log1p count; 0 where a protein was not measured.
    """

    gene_weight: Floats
    protein_weight: Floats
    protein_log: Floats

    @classmethod
    def even(cls, genes: int, proteins: int) -> FeatureLevels:
        """Nothing is known: all count alike."""
        return cls(
            gene_weight=np.ones(genes, dtype=np.float32),
            protein_weight=np.ones(proteins, dtype=np.float32),
            protein_log=np.zeros(proteins, dtype=np.float32),
        )

    @classmethod
    def fit(
        cls,
        store: CohortStore,
        cells: np.ndarray[Any, Any],
        genes: Sequence[str],
        seen: np.ndarray[Any, np.dtype[np.bool_]],
        seed: int,
    ) -> FeatureLevels:
        """From some of these cells; `seen` (a) are the proteins that any training cell showed."""
        if len(cells) > _CELLS:
            drawn = np.random.default_rng((seed, 3)).choice(cells, _CELLS, replace=False)
            cells = np.sort(drawn)
        place = {name: column for column, name in enumerate(store.genes)}
        column = np.array([place[name] for name in genes], dtype=np.intp)
        gene = np.zeros(len(column))
        panel = len(store.proteins)
        protein, log, measured = np.zeros((3, panel))
        for rows in pieces(cells):
            if not store.normalised:
                gene += np.asarray(read_rows(store.rna, rows).sum(axis=0)).ravel()[column]
            if store.protein is not None:
                sample = store.cells["sample"].to_numpy()[rows]
                there = store.protein_measured[sample]
                counts = np.where(there, read_rows(store.protein, rows).astype(np.float64), 0)
                protein += counts.sum(axis=0)
                log += np.log1p(counts).sum(axis=0)
                measured += there.sum(axis=0)
        of_cells = np.maximum(measured, 1)
        return cls(
            gene_weight=_weights(gene, np.ones(len(column), dtype=bool)),
            protein_weight=_weights(protein / of_cells, seen),
            protein_log=(log / of_cells).astype(np.float32),
        )


def _weights(level: np.ndarray[Any, Any], among: np.ndarray[Any, Any]) -> Floats:
    """Levels over their mean; 1 where they are all 0, 0 where not `among`."""
    mean = level[among].mean() if among.any() else 0.0
    even = np.ones_like(level) if mean <= 0 else level / mean
    weights: Floats = np.where(among, even, 0).astype(np.float32)
    return weights
