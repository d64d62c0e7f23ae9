"""Landmarks: centres of the training cells in latent space, and how far their cells lie around.

They stand for the training cells, none of which is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

__all__ = ["Landmarks"]

Array = np.ndarray[Any, np.dtype[Any]]

_WITHIN = 0.95  # share of a centre's own cells that its radius holds
_LEAST = 0.25  # of the median radius: a centre of few cells is no point


@dataclass(frozen=True, kw_only=True)
class Landmarks:
    """`centres` (k, l), and `radius` (k), which 95 % of a centre's own training cells are within.

    `shape` (l, l) whitens: distances are those after `latents @ shape`.
    """

    centres: Array
    radius: Array
    shape: Array

    @classmethod
    def fit(cls, latents: Array, count: int, seed: int) -> Landmarks:
        """K-means centres of these cells (c, l), at most one for every twenty."""
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits

        scale = latents.std(axis=0)
        shape = np.diag(1 / np.where(scale > 1e-6, scale, 1.0)).astype(np.float64)
        whitened = latents @ shape
        count = max(1, min(count, len(latents) // 20))
        with threadpool_limits(1):  # sums in one order, so that a fit repeats to the bit
            found = KMeans(count, n_init=1, random_state=seed).fit(whitened)
        centres = np.asarray(found.cluster_centers_, dtype=np.float64)
        distance = np.linalg.norm(whitened - centres[found.labels_], axis=1)
        own = [distance[found.labels_ == k] for k in range(count)]
        radius = np.array([np.quantile(of, _WITHIN) if len(of) else 0.0 for of in own])
        least = max(_LEAST * float(np.median(radius)), 1e-6)
        return cls(centres=centres, radius=np.maximum(radius, least), shape=shape)

    def nearest(self, latents: Array) -> tuple[Array, Array]:
        """(c) number of the nearest landmark, in its radii, and (c) the distance in these radii."""
        whitened = latents.astype(np.float64) @ self.shape
        near = np.zeros(len(whitened), dtype=np.int64)
        best = np.full(len(whitened), np.inf)
        for k, (centre, radius) in enumerate(zip(self.centres, self.radius, strict=True)):
            distance = np.sqrt(np.square(whitened - centre).sum(axis=1)) / radius
            closer = distance < best
            near[closer], best[closer] = k, distance[closer]
        return near, best

    def plain(self) -> dict[str, Any]:
        """Tensors."""
        return {name: torch.from_numpy(getattr(self, name)) for name in self.__annotations__}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Landmarks:
        """What `plain` was made of."""
        return cls(**{name: own.numpy() for name, own in plain.items()})
