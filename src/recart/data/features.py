"""What a member fits to its training patients before training: genes, batches, priors."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from recart.contracts import FeatureSpec
from recart.data.store import CohortStore

__all__ = ["BoundFeatures", "FeatureChoice", "Features", "bind"]

_LEAST_VARIANCE = 1e-3  # of a component of log counts


@dataclass(frozen=True, kw_only=True)
class Features:
    """One member's features by name, so that they can meet any other store.

    `protein_seen` (a) is False for proteins that no training cell showed: they are masked.
    `background_mean`, `background_scale` are (e, a): the log-scale protein background per batch.
    `batch_share` (e) is the share of the member's training cells in each batch.
    """

    spec: FeatureSpec
    protein_seen: np.ndarray[Any, np.dtype[np.bool_]]
    background_mean: np.ndarray[Any, np.dtype[np.float32]]
    background_scale: np.ndarray[Any, np.dtype[np.float32]]
    batch_share: np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, kw_only=True)
class FeatureChoice:
    """How features are chosen.

    `exclude` holds regular expressions of genes that name a patient rather than a state: by
    default the variable segments of T and B cell receptors. `prior_cells` is how many cells per
    batch start the protein background prior.
    """

    n_genes: int
    exclude: Sequence[str]
    prior_cells: int

    def fit(self, store: CohortStore, cells: np.ndarray[Any, Any], seed: int) -> Features:
        """Fit to these cells (rows of the store): a member's training cells, and nothing else."""
        batches, batch_of_cell = _batches(store, cells)
        share = np.bincount(batch_of_cell, minlength=len(batches)) / len(cells)
        mean, scale, seen = self._background(store, cells, batches, batch_of_cell, seed)
        patients = np.unique(store.cells["patient"].to_numpy()[cells])
        spec = FeatureSpec(
            genes=tuple(self._genes(store, cells)),
            proteins=store.proteins,
            receptor_dim=store.receptor_dim,
            batches=tuple(batches),
            patients=tuple(store.patients.index[patients]),
        )
        return Features(
            spec=spec,
            protein_seen=seen,
            background_mean=mean.astype(np.float32),
            background_scale=scale.astype(np.float32),
            batch_share=share.astype(np.float32),
        )

    def _genes(self, store: CohortStore, cells: np.ndarray[Any, Any]) -> list[str]:
        names = np.array(store.genes, dtype=object)
        pattern = re.compile("|".join(f"(?:{part})" for part in self.exclude) or "(?!)")
        eligible = np.array([pattern.search(name) is None for name in names])
        candidates = np.flatnonzero(eligible)
        if len(candidates) > self.n_genes:
            candidates = candidates[self._most_variable(store.rna[cells][:, candidates], store)]
        return list(names[np.sort(candidates)])

    def _most_variable(
        self, rna: sparse.csr_matrix, store: CohortStore
    ) -> np.ndarray[Any, np.dtype[np.intp]]:
        """Highly variable genes as scanpy's users know them (seurat_v3 on counts)."""
        import anndata
        import scanpy

        adata = anndata.AnnData(X=rna.astype(np.float32))
        flavor = "seurat" if store.normalised else "seurat_v3"
        scanpy.pp.highly_variable_genes(adata, n_top_genes=self.n_genes, flavor=flavor)
        column = "dispersions_norm" if store.normalised else "variances_norm"
        rank = adata.var[column].fillna(-np.inf).to_numpy()
        return np.argsort(-rank, kind="stable")[: self.n_genes]

    def _background(
        self,
        store: CohortStore,
        cells: np.ndarray[Any, Any],
        batches: list[str],
        batch_of_cell: np.ndarray[Any, Any],
        seed: int,
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """TotalVI's empirical start: per batch the mean background component over some cells."""
        panel = len(store.proteins)
        mean, scale = np.zeros((len(batches), panel)), np.ones((len(batches), panel))
        seen = np.zeros(panel, dtype=bool)
        if store.protein is None:
            return mean, scale, seen
        for batch in range(len(batches)):
            own = cells[batch_of_cell == batch]
            chosen = _some(own, self.prior_cells, seed)
            samples = store.cells["sample"].to_numpy()[chosen]
            counts = np.log1p(store.protein[chosen].astype(np.float64))
            fits = [
                _lower_component(row[measured])
                for row, measured in zip(counts, store.protein_measured[samples], strict=True)
                if measured.sum() >= 5 and row[measured].max() > 0
            ]
            if fits:
                mean[batch], scale[batch] = np.mean(fits, axis=0)
            else:
                mean[batch], scale[batch] = 0.0, 0.05
            seen |= np.asarray(store.protein[own].sum(axis=0) > 0).ravel()
        return mean, scale, seen


@dataclass(frozen=True, kw_only=True)
class BoundFeatures:
    """A member's features met with a store: positions, -1 where the store lacks a feature.

    `batch_of_sample` (s) is the member's batch category of each sample, -1 where it is unknown.
    """

    features: Features
    genes: np.ndarray[Any, np.dtype[np.intp]]
    proteins: np.ndarray[Any, np.dtype[np.intp]]
    batch_of_sample: np.ndarray[Any, np.dtype[np.intp]]


def bind(features: Features, store: CohortStore) -> BoundFeatures:
    """Match genes, proteins and batches by name."""
    samples = store.samples
    batch = samples["batch"].astype(str) if "batch" in samples else pd.Series("", samples.index)
    return BoundFeatures(
        features=features,
        genes=_positions(features.spec.genes, store.genes),
        proteins=_positions(features.spec.proteins, store.proteins),
        batch_of_sample=_positions(tuple(batch), features.spec.batches),
    )


def _positions(wanted: Sequence[str], there: Sequence[str]) -> np.ndarray[Any, Any]:
    """Where each wanted name stands, -1 where it does not."""
    place = {name: position for position, name in enumerate(there)}
    return np.array([place.get(name, -1) for name in wanted], dtype=np.intp)


def _batches(
    store: CohortStore, cells: np.ndarray[Any, Any]
) -> tuple[list[str], np.ndarray[Any, Any]]:
    samples = store.cells["sample"].to_numpy()[cells]
    if "batch" not in store.samples:
        return [""], np.zeros(len(cells), dtype=np.intp)
    names = store.samples["batch"].astype(str).to_numpy()[samples]
    # in the order of the store, not of the names: those are keyed pseudonyms
    codes, batches = pd.factorize(names)
    return [str(name) for name in batches], codes


def _some(cells: np.ndarray[Any, Any], count: int, seed: int) -> np.ndarray[Any, Any]:
    if len(cells) <= count:
        return cells
    return np.random.default_rng(seed).choice(cells, count, replace=False)


def _lower_component(log_counts: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Mean and scale of the lower of two Gaussian components over one cell's proteins."""
    from sklearn.mixture import GaussianMixture

    if np.ptp(log_counts) == 0:  # nothing to separate
        return float(log_counts[0]), math.sqrt(_LEAST_VARIANCE)
    fit = GaussianMixture(2, random_state=0, reg_covar=_LEAST_VARIANCE, max_iter=200, tol=1e-2)
    fit.fit(log_counts[:, None])
    low = int(np.argmin(fit.means_))
    return float(fit.means_[low, 0]), float(np.sqrt(fit.covariances_[low].ravel()[0]))
