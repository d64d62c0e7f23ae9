"""Cohorts of the head benchmark as files: latents of every fold, baselines and oracles.

A file holds all that is costly. What a head needs is read from it in a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recart.training.heads import BagLatents, Token

__all__ = ["CachedCohort", "CachedFold", "cohort_path", "load_cohort", "save_cohort"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class CachedFold:
    """One fold: development bags with labels, held-out bags with labels, and baseline logits."""

    development: BagLatents
    y_development: Array
    held_out: BagLatents
    y_held_out: Array
    held_out_rows: Array
    baselines: dict[str, Array]
    seed: int


@dataclass(frozen=True, kw_only=True)
class CachedCohort:
    """A cohort: what was simulated, or which real one it is; `oracles` are (n) scores of bags.

    `folds` hold, per fold, `development` and `held_out` (rows), `latents` (one array a bag),
    `baselines` (logits of the held-out bags) and `seed`. `bags` are the fields of `BagLatents` that
    all folds share, and `genes` are those of its named genes that heads read beside proteins.
    """

    mechanism: str
    patients: int
    strength: float
    seed: int
    labels: Array
    bags: dict[str, Any]
    folds: list[dict[str, Any]]
    oracles: dict[str, Array] = field(default_factory=dict)
    genes: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[CachedFold]:
        for fold in self.folds:
            rows = {part: np.asarray(fold[part]) for part in ("development", "held_out")}
            yield CachedFold(
                development=self.take(fold["latents"], rows["development"]),
                y_development=self.labels[rows["development"]],
                held_out=self.take(fold["latents"], rows["held_out"]),
                y_held_out=self.labels[rows["held_out"]],
                held_out_rows=rows["held_out"],
                baselines=fold["baselines"],
                seed=fold["seed"],
            )

    def take(self, latents: list[Array], rows: Array) -> BagLatents:
        """Some of the bags under one member."""
        bags = self.bags
        return BagLatents(
            latents=[latents[n] for n in rows],
            extras=bags["extras"][rows],
            extra_names=bags["extra_names"],
            patients=bags["patients"][rows],
            extra_groups=bags["extra_groups"],
            token_of_cell=[bags["token_of_cell"][n] for n in rows],
            tokens=[Token(*own) for own in bags["tokens"]],
            markers=[self._markers(n) for n in rows],
            marker_names=[*bags["marker_names"], *np.array(bags["gene_names"])[self._columns]],
        )

    @property
    def _columns(self) -> Array:
        return np.flatnonzero([n.partition(":")[2] in self.genes for n in self.bags["gene_names"]])

    def _markers(self, n: int) -> Array:
        proteins: Array = self.bags["markers"][n]
        if not self.genes:
            return proteins
        return np.hstack([proteins, self.bags["genes"][n][:, self._columns].toarray()])


def cohort_path(folder: Path, mechanism: str, patients: int, strength: float, seed: int) -> Path:
    """Where the file of a simulated cohort lies."""
    return folder / f"{mechanism}-n{patients}-s{strength:g}-{seed}.pt"


def save_cohort(cohort: CachedCohort, path: Path) -> None:
    """Write the file as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    torch.save(vars(cohort), part, pickle_protocol=5)
    part.replace(path)


def load_cohort(path: Path) -> CachedCohort:
    """Read a file that `save_cohort` wrote: this benchmark's own, as it holds pickled arrays."""
    content = torch.load(path, weights_only=False)
    known = CachedCohort.__dataclass_fields__
    return CachedCohort(**{name: own for name, own in content.items() if name in known})
