"""Bags as a head sees them: latents under one member, tokens, markers, clones and covariates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from recart.data.bag_features import feature_group
from recart.data.bag_markers import BagMarkers, marker_names
from recart.data.bags import Bags
from recart.data.features import BoundFeatures
from recart.data.stages import sample_words, stage_of
from recart.data.store import CohortStore
from recart.models.totalvi import TotalVIStack
from recart.training.encoding import encode, encode_by_batch
from recart.training.heads import BagLatents, Token
from recart.training.imputed_markers import ImputedMarkers, imputable_genes, lacks_proteins

__all__ = ["bag_latents", "bag_latents_by_batch"]


def bag_latents(
    stack: TotalVIStack,
    bound: BoundFeatures,
    store: CohortStore,
    bags: Bags,
    rows: Sequence[int] | np.ndarray[Any, Any],
    extras: pd.DataFrame,
    workers: int = 1,
) -> BagLatents:
    """Encode the bags `rows` under one member; `extras` (n, f) is aligned with all of `bags`.

    `workers` threads encode, see `encode`.

    Tokens are those of these bags alone, in order of stage and names. A stage is the place of the
    time point in the given order, or else by the days of the member's training patients. Where a
    bag is one sample, time point and tissue are the same for all its cells and are not told: they
    would be a covariate of the bag, and may be the very thing that is predicted. Proteins of the
    member that a sample's panel lacks, and named genes that the store lacks, are filled in as the
    member expects them.
    """
    latents = encode(stack, bound, store, _slices(bags, rows), workers)
    return _bag_latents(latents, stack, bound, store, bags, rows, extras)


def bag_latents_by_batch(
    stack: TotalVIStack,
    bound: BoundFeatures,
    store: CohortStore,
    bags: Bags,
    rows: Sequence[int] | np.ndarray[Any, Any],
    extras: pd.DataFrame,
    workers: int = 1,
) -> tuple[BagLatents, list[BagLatents]]:
    """`bag_latents`, and as if unknown batches were each of the member's in turn.

    The latter differ in their latents alone, see `encode_by_batch`: what is filled in for missing
    proteins and genes is that of the former. None where every batch is known, or only one trained.
    """
    batches = len(bound.features.spec.batches)
    if batches < 2 or (bound.batch_of_sample >= 0).all():
        return bag_latents(stack, bound, store, bags, rows, extras, workers), []
    seen, *given = encode_by_batch(stack, bound, store, _slices(bags, rows), workers)
    own = _bag_latents(seen, stack, bound, store, bags, rows, extras)
    stops = np.cumsum([len(part) for part in own.latents])[:-1]
    return own, [replace(own, latents=np.split(latents, stops)) for latents in given[:batches]]


def _slices(bags: Bags, rows: Sequence[int] | np.ndarray[Any, Any]) -> list[slice]:
    return [part for n in rows for part in bags.slices[int(n)]]


def _bag_latents(
    latents: np.ndarray[Any, np.dtype[np.float32]],
    stack: TotalVIStack,
    bound: BoundFeatures,
    store: CohortStore,
    bags: Bags,
    rows: Sequence[int] | np.ndarray[Any, Any],
    extras: pd.DataFrame,
) -> BagLatents:
    chosen = [int(n) for n in rows]
    token_of_cell, tokens = _tokens(bound, store, bags, chosen)
    of_bags = BagMarkers(store, bags, chosen, bound)
    markers: Sequence[np.ndarray[Any, Any]] = of_bags
    names, named = marker_names(store, bags), bags.reading.marker_genes
    lacking, _ = imputable_genes(bound, store, named)
    if len(lacking) or lacks_proteins(bound, store).any():
        proteins = (f"protein:{name}" for name in bound.features.spec.proteins)
        names = (*proteins, *names[len(store.proteins) :])
        cells = [bags.cells([n]) for n in chosen]
        markers = ImputedMarkers(of_bags, stack, bound, store, cells, named)
    stops = np.cumsum([sum(part.stop - part.start for part in bags.slices[n]) for n in chosen])
    return BagLatents(
        latents=np.split(latents, stops[:-1]) if chosen else [],
        extras=extras.iloc[chosen].to_numpy(dtype=np.float64),
        extra_names=[str(name) for name in extras.columns],
        patients=bags.groups[chosen],
        extra_groups=[feature_group(str(name)) for name in extras.columns],
        token_of_cell=token_of_cell,
        tokens=tokens,
        markers=markers,
        marker_names=names,
    )


def _tokens(
    bound: BoundFeatures, store: CohortStore, bags: Bags, rows: Sequence[int]
) -> tuple[list[np.ndarray[Any, np.dtype[np.int32]]], list[Token]]:
    """Of each bag the row of `tokens` of each cell; and the tokens."""
    spec = bound.features.spec
    fitted = dict(zip(spec.timepoints, spec.stages, strict=True))
    timepoints, tissues = (sample_words(store.samples, name) for name in ("timepoint", "tissue"))
    stages = {word: stage_of(word, bags.reading.stages, fitted) for word in set(timepoints)}
    sample_of_cell = store.cells["sample"].to_numpy()
    umi_of_cell = store.cells["car_umi"].to_numpy() if "car_umi" in store.cells else None
    signs = ("",) if umi_of_cell is None else ("-", "+")
    codes = []
    for n in rows:
        cells = bags.cells([n])
        positive = 0 if umi_of_cell is None else umi_of_cell[cells] > 0
        codes.append(sample_of_cell[cells] * len(signs) + positive)

    def token(code: int) -> Token:
        sample, sign = divmod(code, len(signs))
        if bags.unit == "sample":
            return Token("", 0, "", signs[sign])
        word = str(timepoints[sample])
        return Token(word, stages[word], str(tissues[sample]), signs[sign])

    present = np.unique(np.concatenate(codes)) if codes else np.zeros(0, dtype=np.int64)
    token_of = {int(code): token(int(code)) for code in present}
    tokens = sorted(set(token_of.values()), key=lambda own: (own.stage, *own))
    row = np.full(len(store.samples) * len(signs), -1, dtype=np.int32)
    row[present] = [tokens.index(token_of[int(code)]) for code in present]
    return [row[own] for own in codes], tokens
