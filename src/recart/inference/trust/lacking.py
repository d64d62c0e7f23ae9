"""What files that lack genes or proteins do to measures of patients that are otherwise usual.

Measured where it can be: on training patients under members that did not see them, with random
genes or proteins hidden. A patient whose file lacks some is compared with those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from recart.data.features import BoundFeatures
from recart.inference.trust.usual import Usual

__all__ = ["CONDITIONS", "Lacking", "hidden"]

Array = np.ndarray[Any, np.dtype[Any]]

_GENES: Final = (0.1, 0.3)
_PROTEINS: Final = (0.5, 1.0)

CONDITIONS: Final = (*((share, 0.0) for share in _GENES), *((0.0, share) for share in _PROTEINS))
"""Shares of genes and of proteins that are hidden."""


def hidden(
    bound: BoundFeatures, condition: tuple[float, float], rng: np.random.Generator
) -> BoundFeatures:
    """The same features, of which the data lack random shares more."""
    genes, proteins = (
        np.where(rng.permutation(len(own)) < round(share * len(own)), -1, own)
        for own, share in zip((bound.genes, bound.proteins), condition, strict=True)
    )
    return replace(bound, genes=genes, proteins=proteins)


@dataclass(frozen=True, kw_only=True)
class Lacking:
    """`shift` and `variance` (condition, f): what each of `CONDITIONS` adds to the measures."""

    shift: Array
    variance: Array

    @classmethod
    def fit(cls, usual: Usual, under: Sequence[Usual]) -> Lacking:
        """From measures of nothing hidden, and under each of `CONDITIONS`."""
        shift = np.stack([own.location - usual.location for own in under])
        variance = np.stack([np.square(own.scale) - np.square(usual.scale) for own in under])
        return cls(shift=np.nan_to_num(shift), variance=np.maximum(np.nan_to_num(variance), 0.0))

    def at(self, genes: Array, proteins: Array) -> tuple[Array, Array]:
        """(n, f) each: shift and variance of bags that lack these shares (n) of either.

        Linear between the conditions, and flat beyond the last; genes and proteins add up.
        """
        return self._interpolated(self.shift, genes, proteins), self._interpolated(
            self.variance, genes, proteins
        )

    def _interpolated(self, values: Array, genes: Array, proteins: Array) -> Array:
        split, zero = len(_GENES), np.zeros((1, values.shape[1]))
        of_genes, of_proteins = (
            np.concatenate([zero, values[:split]]),
            np.concatenate([zero, values[split:]]),
        )
        columns = [
            np.interp(genes, (0.0, *_GENES), of_genes[:, f])
            + np.interp(proteins, (0.0, *_PROTEINS), of_proteins[:, f])
            for f in range(values.shape[1])
        ]
        return np.stack(columns, axis=1)

    def plain(self) -> dict[str, Any]:
        """Tensors."""
        return {name: torch.from_numpy(getattr(self, name)) for name in self.__annotations__}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Lacking:
        """What `plain` was made of."""
        return cls(**{name: own.numpy() for name, own in plain.items()})
