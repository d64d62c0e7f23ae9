"""Cells of bags as attention over cells reads them: random views in training, all in evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recart.training.heads import Array, BagLatents, Token
from recart.training.prototype_tokens import known_token_of_cell

__all__ = ["CellScaling", "all_cells", "known_cells", "random_views"]

_CHUNK = 8192  # cells read at once in evaluation
_LIMIT = 5.0  # standard deviations beyond which a cell counts as the outermost


@dataclass(frozen=True)
class CellScaling:
    """Mean and standard deviation (l) of cells, every training bag of the same weight."""

    mean: Array
    scale: Array

    @staticmethod
    def fit(latents: Sequence[Array], rows: Array) -> CellScaling:
        """On the bags `rows`."""
        own = [latents[int(n)] for n in rows if len(latents[int(n)])]
        mean = np.mean([z.mean(0, dtype=np.float64) for z in own], axis=0)
        square = np.mean([((z - mean) ** 2).mean(0, dtype=np.float64) for z in own], axis=0)
        return CellScaling(mean, np.maximum(np.sqrt(square), 1e-6))

    def apply(self, z: Array) -> Array:
        """Scaled latents; nothing is extrapolated far."""
        scaled: Array = np.clip((z - self.mean) / self.scale, -_LIMIT, _LIMIT)
        return scaled


def known_cells(bags: BagLatents, n: int, tokens: Sequence[Token]) -> tuple[Array, Array]:
    """Cells of bag `n` whose token is among `tokens`, and which of these each has."""
    token_c = known_token_of_cell(bags, n, tokens)
    cells = np.flatnonzero(token_c >= 0)
    return cells, token_c[cells]


def _instances(z: Array, token_c: Array, tokens: int, scaling: CellScaling) -> Array:
    """(c, l + r) scaled latents and which token it is."""
    which: Array = np.eye(tokens)[token_c]
    return np.concatenate([scaling.apply(z), which], axis=-1)


def random_views(
    bags: BagLatents,
    rows: Sequence[int],
    tokens: Sequence[Token],
    scaling: CellScaling,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """(n v, c, i) random `v` views of at most `c` cells of each bag; (n v, c) is a cell there.

    Views differ where a bag has more than `c` cells, and hold no cell twice; those of a smaller bag
    are the whole of it.
    """
    views, cells = shape
    latent = bags.latents[0].shape[1]
    x = np.zeros((len(rows), views, cells, latent + len(tokens)))
    mask = np.zeros((len(rows), views, cells), dtype=bool)
    for i, n in enumerate(rows):
        known, token_c = known_cells(bags, n, tokens)
        for v in range(views):
            drawn = np.arange(len(known))
            if len(known) > cells:
                drawn = rng.choice(len(known), cells, replace=False, shuffle=False)
            z = bags.latents[n][known[drawn]]
            x[i, v, : len(drawn)] = _instances(z, token_c[drawn], len(tokens), scaling)
            mask[i, v, : len(drawn)] = True
    return torch.from_numpy(x).flatten(0, 1), torch.from_numpy(mask).flatten(0, 1)


def all_cells(
    bags: BagLatents, n: int, tokens: Sequence[Token], scaling: CellScaling
) -> Iterator[Tensor]:
    """(1, c, i) all known cells of bag `n`, in chunks: a large bag takes no more memory."""
    known, token_c = known_cells(bags, n, tokens)
    for start in range(0, len(known), _CHUNK):
        part = slice(start, start + _CHUNK)
        z = bags.latents[n][known[part]]
        yield torch.from_numpy(_instances(z, token_c[part], len(tokens), scaling)).unsqueeze(0)
