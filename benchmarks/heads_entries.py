"""Entries of the head benchmark: each scores the held-out bags of a fold from its cached parts.

Every head of `configs/head` is found by its file; `heads_peers.py` has what others publish.
"""

from __future__ import annotations

from dataclasses import replace

from heads_cohorts import CachedFold
from heads_peers import ABMIL, Array, Entry, abmil, installed

from recart.config.build import build
from recart.config.compose import compose, config_folder
from recart.training.ensemble_head import FittedEnsembleHead
from recart.training.heads import BagLatents

__all__ = ["ENSEMBLE", "ON_LATENTS", "WITHOUT_GENES", "default_head", "entries"]

ENSEMBLE = "ensemble"
WITHOUT_GENES = " - genes"  # of an entry that reads no named genes
ON_LATENTS = " on latents"  # and nothing beside them, as peers


def default_head() -> str:
    """Name of the head that a plain `python train.py` fits."""
    plain = compose().head
    return next(name for name in _heads() if compose([f"head={name}"]).head == plain)


def entries() -> dict[str, Entry]:
    """Every head, the default with less to read as well, and ABMIL where it is installed."""
    found: dict[str, Entry] = {name: _of_head(name) for name in _heads()}
    default = found[default_head()]
    found[default_head() + WITHOUT_GENES] = default
    found[default_head() + ON_LATENTS] = lambda fold: default(_on_latents(fold))
    return {**found, ABMIL: abmil} if installed("torchmil") else found


def _on_latents(fold: CachedFold) -> CachedFold:
    """The fold without proteins, genes, clones and covariates."""

    def bare(bags: BagLatents) -> BagLatents:
        return replace(
            bags,
            extras=bags.extras[:, :0],
            extra_names=[],
            extra_groups=[],
            markers=[own[:, :0] for own in bags.markers],
            marker_names=[],
        )

    return replace(fold, development=bare(fold.development), held_out=bare(fold.held_out))


def _heads() -> list[str]:
    return sorted(path.stem for path in (config_folder() / "head").glob("*.yaml"))


def _of_head(name: str) -> Entry:
    """A head; of an ensemble also the heads that it holds, which then need no fit of their own."""
    head = build(compose([f"head={name}"]).head)

    def score(fold: CachedFold) -> Array | dict[str, Array]:
        fitted = head.fit(fold.development, fold.y_development, fold.seed)
        logits: Array = fitted.logits(fold.held_out)
        if not isinstance(fitted, FittedEnsembleHead):
            return logits
        parts = {part: own.logits(fold.held_out) for part, own in fitted.parts.items()}
        return {name: logits, **parts}

    return score
