"""What a member fits to its training patients before training: genes, batches, priors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recart.contracts import FeatureSpec
from recart.data.background_mixture import lower_components
from recart.data.feature_levels import FeatureLevels
from recart.data.names.gene_map import known_ids, known_symbol
from recart.data.rows import pieces, read_rows
from recart.data.stages import stages_by_day
from recart.data.store import CohortStore
from recart.data.variable_genes import most_variable
from recart.ranges import AT_LEAST_ONE, NOT_NEGATIVE, Range, require

__all__ = ["BoundFeatures", "FeatureChoice", "Features", "bind"]

_LEAST_VARIANCE = 1e-3  # of a component of log counts


def _compile(expressions: Sequence[str]) -> bool:
    try:
        return all(re.compile(own) for own in expressions)
    except re.error:
        return False


_EXPRESSIONS = Range("regular expressions", _compile)


@dataclass(frozen=True, kw_only=True)
class Features:
    """One member's features by name, so that they can meet any other store.

    `protein_seen` (a) is False for proteins that no training cell showed: they are masked.
    `background_mean`, `background_scale` are (e, a): the log-scale protein background per batch.
    `batch_share` (e) is the share of the member's training cells in each batch, `levels` how much
    each feature contributes to the depth of a cell.
    """

    spec: FeatureSpec
    protein_seen: np.ndarray[Any, np.dtype[np.bool_]]
    background_mean: np.ndarray[Any, np.dtype[np.float32]]
    background_scale: np.ndarray[Any, np.dtype[np.float32]]
    batch_share: np.ndarray[Any, np.dtype[np.float32]]
    levels: FeatureLevels


@dataclass(frozen=True, kw_only=True)
class FeatureChoice:
    """How features are chosen.

    `exclude` holds regular expressions of genes that name a patient rather than a state: by
    default the variable segments of T and B cell receptors. They are looked for in names as given
    and in the symbols of Ensembl ids. `prior_cells` is how many cells per batch start the protein
    background prior.
    """

    n_genes: int
    exclude: Sequence[str]
    prior_cells: int

    def __post_init__(self) -> None:
        """Refuse numbers below what can be chosen, and what is no expression.

        Raises
        ------
        ValueError
            With all fields that are null or outside of their range.
        """
        own = {"n_genes": NOT_NEGATIVE, "exclude": _EXPRESSIONS, "prior_cells": AT_LEAST_ONE}
        require(self, own)

    def fit(self, store: CohortStore, cells: np.ndarray[Any, Any], seed: int) -> Features:
        """Fit to these cells (rows of the store): a member's training cells, and nothing else."""
        batches, batch_of_cell = _batches(store, cells)
        share = np.bincount(batch_of_cell, minlength=len(batches)) / len(cells)
        mean, scale, seen = self._background(store, cells, batches, batch_of_cell, seed)
        patients = np.unique(store.cells["patient"].to_numpy()[cells])
        samples = np.unique(store.cells["sample"].to_numpy()[cells])
        stages = stages_by_day(store.samples.iloc[samples])
        genes = self._genes(store, cells)
        spec = FeatureSpec(
            genes=tuple(genes),
            proteins=store.proteins,
            receptor_dim=store.receptor_dim,
            batches=tuple(batches),
            patients=tuple(store.patients.index[patients]),
            timepoints=tuple(stages),
            stages=tuple(stages.values()),
            gene_ids=_ids(store, genes),
        )
        return Features(
            spec=spec,
            protein_seen=seen,
            background_mean=mean.astype(np.float32),
            background_scale=scale.astype(np.float32),
            batch_share=share.astype(np.float32),
            levels=FeatureLevels.fit(store, cells, genes, seen, seed),
        )

    def _genes(self, store: CohortStore, cells: np.ndarray[Any, Any]) -> list[str]:
        names = np.array(store.genes, dtype=object)
        pattern = re.compile("|".join(f"(?:{part})" for part in self.exclude) or "(?!)")
        eligible = np.array(
            [not (pattern.search(name) or pattern.search(known_symbol(name))) for name in names]
        )
        candidates = np.flatnonzero(eligible)
        if len(candidates) > self.n_genes:
            candidates = most_variable(
                store.rna, cells, candidates, self.n_genes, normalised=store.normalised
            )
        return list(names[np.sort(candidates)])

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
            counts = np.log1p(read_rows(store.protein, chosen).astype(np.float64))
            measured = store.protein_measured[samples]
            enough = (measured.sum(axis=1) >= 5) & ((counts > 0) & measured).any(axis=1)
            if enough.any():
                lower = lower_components(counts[enough], measured[enough], _LEAST_VARIANCE)
                mean[batch], scale[batch] = (part.mean() for part in lower)
            else:
                mean[batch], scale[batch] = 0.0, 0.05
            for part in pieces(own):
                seen |= (read_rows(store.protein, part) > 0).any(axis=0)
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

    @property
    def depth_share(self) -> float:
        """Share of a usual cell's counts of the member's genes that is in those that are there."""
        weight = self.features.levels.gene_weight
        there = self.genes >= 0
        return 1.0 if there.all() else float(weight[there].sum() / max(weight.sum(), 1e-12))


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


def _ids(store: CohortStore, genes: Sequence[str]) -> tuple[str, ...]:
    """Ensembl ids of the chosen genes: the cohort's own, else by the shipped map."""
    own = dict(zip(store.genes, store.gene_ids, strict=True)) if store.gene_ids else {}
    return known_ids(genes, [own.get(name, "") for name in genes])


def _batches(
    store: CohortStore, cells: np.ndarray[Any, Any]
) -> tuple[list[str], np.ndarray[Any, Any]]:
    samples = store.cells["sample"].to_numpy()[cells]
    if "batch" not in store.samples:
        return [""], np.zeros(len(cells), dtype=np.intp)
    own = pd.unique(samples)
    # in the order of the store, not of the names: those are keyed pseudonyms
    codes, batches = pd.factorize(store.samples["batch"].astype(str).to_numpy()[own])
    code_of_sample = np.zeros(len(store.samples), dtype=np.intp)
    code_of_sample[own] = codes
    return [str(name) for name in batches], code_of_sample[samples]


def _some(cells: np.ndarray[Any, Any], count: int, seed: int) -> np.ndarray[Any, Any]:
    if len(cells) <= count:
        return cells
    return np.random.default_rng(seed).choice(cells, count, replace=False)
