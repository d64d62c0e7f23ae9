"""A map of the cell states that a model knows, on which cells of a new patient are placed.

A released model holds no cells of its training patients. What it holds is its prototypes: centres
of cell states, and how wide they are. A UMAP is fitted to the centres once; points drawn around
them stand for the training cells, and these as well as each cell of a patient are put between the
centres that are nearest. So the map is the same for every patient, and a patient's place on it does
not depend on who else is there.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from recart.report.kept_threads import kept_threads
from recart.training.prototype_head import FittedPrototypeHead

__all__ = ["ReferenceMap"]

Floats = np.ndarray[Any, np.dtype[np.float64]]

_POINTS: Final = 1500  # drawn in all
_NEIGHBOURS: Final = 10  # of the UMAP
_FEWEST: Final = 20  # centres of which a UMAP can be made
_NEAREST: Final = 6  # centres that place a cell


@dataclass(frozen=True, kw_only=True)
class ReferenceMap:
    """Centres of cell states.

    Attributes
    ----------
    centres
        (k, d) in the coordinates of the prototypes.
    places
        (k, 2) on the map.
    points
        (n, 2) of points drawn around the centres.
    method
        `a UMAP`; `principal components` where there are too few centres for one.
    """

    centres: Floats
    places: Floats
    points: Floats
    method: str

    @classmethod
    def of(cls, head: FittedPrototypeHead) -> ReferenceMap:
        """Lay out the finest prototypes of a head."""
        prototypes = head.features.prototypes[-1]
        centres = prototypes.centres_kl.numpy()
        few = len(centres) < _FEWEST
        places = _components(centres) if few else _umap(centres)
        each = max(1, _POINTS // len(centres))
        noise = np.random.default_rng(0).standard_normal((each, *centres.shape))
        drawn = (centres + np.sqrt(prototypes.width) * noise).reshape(-1, centres.shape[1])
        return cls(
            centres=centres,
            places=places,
            points=_between(drawn, centres, places),
            method="principal components" if few else "a UMAP",
        )

    def place(self, cells: np.ndarray[Any, Any]) -> Floats:
        """(c, 2) of cells (c, d)."""
        return _between(cells.astype(np.float64), self.centres, self.places)


def _umap(centres: Floats) -> Floats:
    with kept_threads(), warnings.catch_warnings():
        # umap says that TensorFlow is not there, and that a fixed seed makes it single-threaded
        warnings.simplefilter("ignore")
        import umap

        # exact neighbours of so few points take no time; umap's own are compiled first
        near = _nearest(centres, centres, _NEIGHBOURS)
        layout = umap.UMAP(n_neighbors=_NEIGHBOURS, random_state=0, precomputed_knn=near)
        return np.asarray(layout.fit_transform(centres), dtype=np.float64)


def _components(centres: Floats) -> Floats:
    centred = centres - centres.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((len(centres), 2))
    places[:, : min(2, len(directions))] = centred @ directions[:2].T
    return places


def _between(cells: Floats, centres: Floats, places: Floats) -> Floats:
    """The mean place of the nearest centres, weighed by how near: a centre stands on its own."""
    index, distance = _nearest(centres, cells, min(_NEAREST, len(centres)))
    weight = np.exp(-np.square(distance / np.maximum(distance[:, :1], 1e-9)) + 1)
    weight /= weight.sum(axis=1, keepdims=True)
    placed: Floats = (places[index] * weight[..., None]).sum(axis=1)
    return placed


def _nearest(
    points: Floats, cells: Floats, count: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    from sklearn.neighbors import NearestNeighbors

    distance, index = NearestNeighbors(n_neighbors=count).fit(points).kneighbors(cells)
    return index, distance
