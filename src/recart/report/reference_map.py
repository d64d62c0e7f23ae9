"""A map of the cell states that a model knows, on which cells of a new patient are placed.

A released model holds no cells of its training patients. What it holds is its prototypes: centres
of cell states, and how wide they are. Points drawn around them stand for the training cells, a UMAP
is fitted to these once, and each cell of a patient is put where its nearest points are. So the map
is the same for every patient, and a patient's place on it does not depend on who else is there.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from recart.training.prototype_head import FittedPrototypeHead

__all__ = ["ReferenceMap", "state_words"]

Floats = np.ndarray[Any, np.dtype[np.float64]]

_POINTS: Final = 1800  # drawn in all
_NEIGHBOURS: Final = 15  # of the UMAP
_NEAREST: Final = 5  # points that place a cell
_MARKERS: Final = 3  # that name a state
_TELLING: Final = 0.75  # SD over states from which a marker names one


@dataclass(frozen=True, kw_only=True)
class ReferenceMap:
    """Points around the prototypes (n, d), and where they stand on the map (n, 2)."""

    points: Floats
    places: Floats

    @classmethod
    def of(cls, head: FittedPrototypeHead) -> ReferenceMap:
        """Draw and lay out the points of the finest prototypes of a head."""
        with warnings.catch_warnings():
            # umap says that TensorFlow is not there, and that a fixed seed makes it single-threaded
            warnings.simplefilter("ignore")
            import umap

        prototypes = head.features.prototypes[-1]
        centres = prototypes.centres_kl.numpy()
        each = max(1, _POINTS // len(centres))
        noise = np.random.default_rng(0).standard_normal((each, *centres.shape))
        points = (centres + np.sqrt(prototypes.width) * noise).reshape(-1, centres.shape[1])
        near = min(_NEIGHBOURS, len(points) - 1)
        index, distance = _nearest(points, points, near)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # exact neighbours of so few points take no time; umap's own are compiled first
            layout = umap.UMAP(n_neighbors=near, random_state=0, precomputed_knn=(index, distance))
            places = layout.fit_transform(points)
        return cls(points=points, places=np.asarray(places, dtype=np.float64))

    def place(self, cells: np.ndarray[Any, Any]) -> Floats:
        """(c, 2) of cells (c, d): the mean place of the nearest points, nearer ones more."""
        near = min(_NEAREST, len(self.points))
        index, distance = _nearest(self.points, cells.astype(np.float64), near)
        weight = 1 / np.maximum(distance, 1e-9)
        weight /= weight.sum(axis=1, keepdims=True)
        placed: Floats = (self.places[index] * weight[..., None]).sum(axis=1)
        return placed


def state_words(head: FittedPrototypeHead) -> list[str]:
    """The coarse prototypes by number and by the markers that are high there, against the rest."""
    own = head.features
    latents = own.usual_kf.shape[1] - len(own.marker_names)
    usual = own.usual_kf[:, latents:].numpy()
    names = [name.split(":", 1)[-1] for name in own.marker_names]
    if not names:
        return [f"state {k}" for k in range(len(usual))]
    spread = np.maximum(usual.std(axis=0), 1e-9)
    # a marker that hardly varies between states tells none apart
    telling = (usual - usual.mean(axis=0)) / spread * (spread > 0.1 * np.median(spread))
    words = []
    for k, row in enumerate(telling):
        high = [names[i] for i in np.argsort(-row, kind="stable")[:_MARKERS] if row[i] > _TELLING]
        words.append(f"state {k}" + (f": {', '.join(high)}" if high else ""))
    return words


def _nearest(
    points: Floats, cells: Floats, count: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    from sklearn.neighbors import NearestNeighbors

    distance, index = NearestNeighbors(n_neighbors=count).fit(points).kneighbors(cells)
    return index, distance
