"""Posterior predictive checks: whether counts drawn from the model vary as those of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd

from recart.data.rows import pieces, read_rows
from recart.inference.outputs.chosen import Rows, rows_of
from recart.inference.outputs.outputs import Outputs

__all__ = ["posterior_predictive_check"]

Sums = np.ndarray[Any, np.dtype[np.float64]]


@final
@dataclass
class _Moments:
    """Running sums of each feature over cells, for every draw (draws, features)."""

    cells: Sums
    total: Sums
    squares: Sums
    zeros: Sums

    @classmethod
    def empty(cls, draws: int, features: int) -> _Moments:
        return cls(*np.zeros((4, draws, features)))

    def add(self, draw: int, counts: Any, measured: np.ndarray[Any, Any] | None = None) -> None:
        values = counts.astype(np.float64)
        there = np.ones(values.shape, dtype=bool) if measured is None else measured
        self.cells[draw] += there.sum(0)
        self.total[draw] += (values * there).sum(0)
        self.squares[draw] += (np.square(values) * there).sum(0)
        self.zeros[draw] += ((values == 0) & there).sum(0)

    def summary(self, suffix: str) -> pd.DataFrame:
        """Means over draws; NaN where there is nothing."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self.total / self.cells
            variance = (self.squares / self.cells - np.square(mean)).clip(min=0)
            parts = {
                "mean": mean,
                "coefficient_of_variation": np.sqrt(variance) / mean,
                "zero_fraction": self.zeros / self.cells,
            }
        finite = {name: np.ma.masked_invalid(values) for name, values in parts.items()}
        return pd.DataFrame(
            {f"{name}_{suffix}": v.mean(axis=0).filled(np.nan) for name, v in finite.items()}
        )


def posterior_predictive_check(
    outputs: Outputs, indices: Rows | None = None, *, n_samples: int = 10, seed: int = 0
) -> pd.DataFrame:
    """Mean, coefficient of variation and fraction of zeros over cells, drawn and observed.

    The metrics of scvi-tools' `PosteriorPredictiveCheck` (dimension "cells"), from running sums: no
    array of cells x features x samples is held. A protein is looked at in the cells where it was
    measured.

    Returns
    -------
    pandas.DataFrame
        A feature in a row, proteins as `<name>_protein`; columns `<metric>_raw` of the data and
        `<metric>_sampled`, the mean over draws. NaN where a feature has no counts, or the data lack
        it.
    """
    store = outputs.store
    rows = rows_of(indices, store)
    genes = pd.Index(store.genes).get_indexer(pd.Index(outputs.genes))
    proteins = pd.Index(store.proteins).get_indexer(pd.Index(outputs.proteins))
    there = proteins >= 0
    features = len(genes), len(proteins)
    draws = outputs.draws(n_samples)
    sampled = [_Moments.empty(draws, n) for n in features]
    observed = [_Moments.empty(1, n) for n in features]

    def measured(cells: Rows) -> np.ndarray[Any, Any]:
        samples = store.cells["sample"].to_numpy()[cells]
        mask = np.zeros((len(cells), len(proteins)), dtype=bool)
        mask[:, there] = store.protein_measured[samples][:, proteins[there]]
        return mask

    for at, draw, rna, protein in outputs.predictive_chunks(n_samples, indices, seed):
        sampled[0].add(draw, rna)
        sampled[1].add(draw, protein, measured(rows[at]))
    for part in pieces(rows):
        observed[0].add(0, read_rows(store.rna, part)[:, genes].toarray())
        if store.protein is not None:
            counts = np.zeros((len(part), len(proteins)))
            counts[:, there] = read_rows(store.protein, part)[:, proteins[there]]
            observed[1].add(0, counts, measured(part))
    tables = [
        pd.concat([one.summary("raw"), other.summary("sampled")], axis=1)
        for one, other in zip(observed, sampled, strict=True)
    ]
    table = pd.concat(tables, ignore_index=True)
    table.index = pd.Index([*outputs.genes, *(f"{name}_protein" for name in outputs.proteins)])
    return table
