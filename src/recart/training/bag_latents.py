"""Bags as a head sees them: latents under one member, tokens, markers, clones and covariates."""

from __future__ import annotations

from collections.abc import Sequence
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
from recart.training.encoding import encode
from recart.training.heads import BagLatents, Token
from recart.training.imputed_proteins import ImputedProteins, lacks_proteins

__all__ = ["bag_latents"]


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
    member that a sample's panel lacks are filled in as the member expects them.
    """
    chosen = [int(n) for n in rows]
    token_of_cell, tokens = _tokens(bound, store, bags, chosen)
    of_bags = BagMarkers(store, bags, chosen, bound)
    markers: Sequence[np.ndarray[Any, Any]] = of_bags
    names = marker_names(store, bags)
    if lacks_proteins(bound, store).any():
        of_genes = names[len(store.proteins) :]
        names = (*(f"protein:{name}" for name in bound.features.spec.proteins), *of_genes)
        cells = [bags.cells([n]) for n in chosen]
        markers = ImputedProteins(of_bags, stack, bound, store, cells)
    slices = [bags.slices[n] for n in chosen]
    latents = encode(stack, bound, store, [part for own in slices for part in own], workers)
    stops = np.cumsum([sum(part.stop - part.start for part in own) for own in slices])
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
