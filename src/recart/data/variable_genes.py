"""Highly variable genes in passes over slices of cells: scanpy's numbers without its peak.

The matrix is read piece by piece, so it may lie on disk; only sums per gene are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.rows import RowArray, pieces, read_rows

__all__ = ["most_variable"]

Floats = np.ndarray[Any, np.dtype[np.float64]]
Indices = np.ndarray[Any, Any]

_SPAN = 0.3  # share of the genes in each local regression
_BINS = 20  # of mean expression
_NO_EXPRESSION = 1e-12


def most_variable(
    rna: RowArray, cells: Indices, candidates: Indices, count: int, *, normalised: bool
) -> Indices:
    """The `count` most variable of `candidates` (gene columns) over `cells` (rows of `rna`).

    On counts, `seurat_v3`: variance of the counts, each clipped at the square root of the number of
    cells, in units of the variance expected at the gene's mean (Stuart et al., Cell 2019). On
    normalised values, `seurat`: dispersion, standardised among genes of similar mean (Satija et
    al., Nature Biotechnology 2015). Both as `scanpy.pp.highly_variable_genes` computes them.
    """
    score = _standardised_dispersion if normalised else _standardised_variance
    values = score(rna, cells, candidates)
    rank = np.where(np.isnan(values), -np.inf, values)
    return candidates[np.argsort(-rank, kind="stable")[:count]]


def _standardised_variance(rna: RowArray, cells: Indices, genes: Indices) -> Floats:
    from skmisc.loess import loess

    n = len(cells)
    total, squares = (sums[genes] for sums in _moments(rna, cells, lambda counts: counts))
    mean = total / n
    variance = np.maximum(squares - n * mean**2, 0.0) / max(1, n - 1)
    varies = variance > 0
    expected = np.ones(len(genes))
    fit = loess(np.log10(mean[varies]), np.log10(variance[varies]), span=_SPAN, degree=2)
    fit.fit()
    expected[varies] = 10**fit.outputs.fitted_values
    limit = np.full(rna.shape[1], np.inf)
    limit[genes] = np.sqrt(expected) * np.sqrt(n) + mean
    excess, excess_squares = (sums[genes] for sums in _above(rna, cells, limit))
    total, squares = total - excess, squares - excess_squares
    spread: Floats = n * mean**2 + squares - 2 * total * mean
    return spread / (max(1, n - 1) * expected)


def _standardised_dispersion(rna: RowArray, cells: Indices, genes: Indices) -> Floats:
    n = len(cells)
    total, squares = (sums[genes] for sums in _moments(rna, cells, np.expm1))
    mean = total / n
    variance = np.maximum(squares - n * mean**2, 0.0) / max(1, n - 1)
    mean = np.where(mean == 0, _NO_EXPRESSION, mean)
    dispersion = np.log(variance / mean, out=np.full(len(genes), np.nan), where=variance > 0)
    table = pd.DataFrame({"dispersion": dispersion, "bin": pd.cut(np.log1p(mean), bins=_BINS)})
    grouped = table.groupby("bin", observed=True)["dispersion"]
    centre, scale = grouped.transform("mean"), grouped.transform("std")
    # a gene alone in its bin has no spread to compare with
    alone = scale.isna()
    scale, centre = scale.where(~alone, centre), centre.where(~alone, 0.0)
    standardised: Floats = ((table["dispersion"] - centre) / scale).to_numpy(dtype=np.float64)
    return standardised


def _moments(
    rna: RowArray, cells: Indices, transform: Callable[[np.ndarray[Any, Any]], Any]
) -> tuple[Floats, Floats]:
    """Sum and sum of squares of every gene."""
    total, squares = np.zeros((2, rna.shape[1]))
    for x in _pieces_of(rna, cells):
        values = np.asarray(transform(x.data.astype(np.float32)), dtype=np.float64)
        total += np.bincount(x.indices, weights=values, minlength=len(total))
        squares += np.bincount(x.indices, weights=values**2, minlength=len(total))
    return total, squares


def _above(rna: RowArray, cells: Indices, limit: Floats) -> tuple[Floats, Floats]:
    """By how much sum and sum of squares of every gene exceed those of the clipped counts."""
    total, squares = np.zeros((2, rna.shape[1]))
    for x in _pieces_of(rna, cells):
        over = np.flatnonzero(x.data > limit[x.indices])
        gene, value = x.indices[over], x.data[over].astype(np.float64)
        total += np.bincount(gene, weights=value - limit[gene], minlength=len(total))
        squares += np.bincount(gene, weights=value**2 - limit[gene] ** 2, minlength=len(total))
    return total, squares


def _pieces_of(rna: RowArray, cells: Indices) -> Iterator[sparse.csr_matrix]:
    for part in pieces(cells):
        yield read_rows(rna, part)
