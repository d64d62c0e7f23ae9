"""One member as a judge of cells and bags: how unlike its own training patients they are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from recart.inference.trust.cell_measures import CellMeasures
from recart.inference.trust.contrast import NO_CONTRAST, Contrast, Told
from recart.inference.trust.depth_curve import NOTHING_MEASURED, DepthCurve
from recart.inference.trust.landmarks import Landmarks

__all__ = ["CELL_SCORES", "MEASURES", "Judge"]

Array = np.ndarray[Any, np.dtype[Any]]

CELL_SCORES: Final = ("latent", "rna", "protein")
"""Of each cell: log distance to its landmark, and excess cost of its RNA and its proteins."""

MEASURES: Final = (*CELL_SCORES, "composition", "kind", "rna_depth", "protein_depth")
"""Of each bag: means of the scores of its cells, distance of its composition, how much more like
another kind of sample the most doubtful of its samples is, and median log depths."""

# Added to the share of each landmark; not a number of cells, so that a sample of many cells can be
# compared with the first cells of training samples.
_PSEUDO: Final = 0.0025
_RARE: Final = 0.99  # quantile of unseen patients' cells beyond which a cell is out of distribution


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Attributes: `member` (name), `landmarks`, `rna` and `protein` curves, and what follows.

    `composition` (k) is the mean of the log-ratio shares of landmarks over the member's training
    bags, `precision` (k, k) their inverse covariance, as if all shares varied alike. `typical` and
    `limits` (3) are values of `CELL_SCORES` that half and one in a hundred of the cells of unseen
    patients exceed. `contrast` tells kinds of samples by their compositions.
    """

    member: str
    landmarks: Landmarks
    composition: Array
    precision: Array
    rna: DepthCurve = NOTHING_MEASURED
    protein: DepthCurve = NOTHING_MEASURED
    typical: tuple[float, ...] = (0.0,) * len(CELL_SCORES)
    limits: tuple[float, ...] = (np.inf,) * len(CELL_SCORES)
    contrast: Contrast = NO_CONTRAST

    @classmethod
    def fit(
        cls,
        member: str,
        seen: Sequence[Array],
        costs: Sequence[CellMeasures],
        landmarks: int,
        seed: int,
    ) -> Judge:
        """From the bags that the member was trained on.

        Parameters
        ----------
        member
            Name of the member.
        seen
            Latents (c, l) of each bag.
        costs
            Measures of some cells of each bag, for the curves. Seen cells cost less than unseen
            ones, by about as much in every bag: `Novelty` centres that away. Unseen bags are too
            few to fit a curve of their own to: four a fold hid what they differ in, and 6 of 20
            new patients were refused (`benchmarks/README.md`).
        landmarks, seed
            Number of landmarks at most, and the seed of their search.
        """
        found = Landmarks.fit(np.concatenate(seen), landmarks, seed)
        shares = np.stack([_composition(found.nearest(own)[0], found) for own in seen])
        # A covariance of as many shares as there are bags knows each of these bags: by it, three in
        # four of them were told from others (`benchmarks/README.md`). One variance knows none.
        variance = max(float(shares.var(axis=0).mean()), 1e-6)
        return cls(
            member=member,
            landmarks=found,
            composition=shares.mean(axis=0),
            precision=np.eye(shares.shape[1]) / variance,
            rna=_curve([own.rna_depth for own in costs], [own.rna for own in costs]),
            protein=_curve([own.protein_depth for own in costs], [own.protein for own in costs]),
        )

    def contrasted(
        self, samples: Sequence[Array], told: Sequence[Told], admitted: Collection[str]
    ) -> Judge:
        """The same judge, who has seen these samples' latents (c, l), and what is told of each."""
        profiles = [self._profile(own, of) for own, of in zip(samples, told, strict=True)]
        kinds = [of.kind for of in told]
        return replace(self, contrast=Contrast.fit(np.stack(profiles), kinds, admitted))

    def calibrated(self, unseen: Sequence[CellMeasures]) -> Judge:
        """The same judge, with what is usual for cells of bags that the member did not see."""
        scores = [self.cell_scores(own) for own in unseen]
        # each patient counts alike, however many cells it has
        weight = np.concatenate([np.full(own.shape[1], 1 / own.shape[1]) for own in scores])
        together = np.concatenate(scores, axis=1)
        typical, limits = (
            tuple(_quantile(own, weight, q) for own in together) for q in (0.5, _RARE)
        )
        return replace(self, typical=typical, limits=limits)

    def cell_scores(self, cells: CellMeasures) -> Array:
        """(3, c) `CELL_SCORES`; NaN where nothing was measured."""
        _, distance = self.landmarks.nearest(cells.latents)
        return np.stack(
            [
                np.log(np.maximum(distance, 1e-6)),
                self.rna.excess(cells.rna_depth, cells.rna),
                self.protein.excess(cells.protein_depth, cells.protein),
            ]
        )

    def oddness(self, scores: Array) -> Array:
        """(c) how odd cells of these scores (3, c) are: 0 is typical, beyond 1 is one in a hundred.

        The worst of the scores counts.
        """
        typical, limits = np.array(self.typical)[:, None], np.array(self.limits)[:, None]
        known = np.isfinite(scores) & np.isfinite(limits)
        with np.errstate(invalid="ignore"):
            scaled = (scores - typical) / np.maximum(limits - typical, 1e-9)
        worst: Array = np.where(known, scaled, 0.0).max(axis=0, initial=0.0)
        return worst

    def measures(self, cells: CellMeasures, scores: Array, told: Sequence[Told]) -> Array:
        """`MEASURES` (f) of one bag of these cells and samples, NaN where nothing was measured."""
        off = self._shares(cells.latents) - self.composition
        otherness = [
            self.contrast.otherness(self._profile(cells.latents[own.place], own), own.kind)
            for own in told
        ]
        return np.array(
            [
                *(_over_finite(np.mean, own) for own in scores),
                0.5 * np.log(max(float(off @ self.precision @ off), 1e-6)),
                _over_finite(np.max, np.array(otherness)),
                _over_finite(np.median, np.where(np.isfinite(cells.rna), cells.rna_depth, np.nan)),
                _over_finite(
                    np.median, np.where(np.isfinite(cells.protein), cells.protein_depth, np.nan)
                ),
            ]
        )

    def plain(self) -> dict[str, Any]:
        """Plain Python and tensors."""
        return {
            "member": self.member,
            "landmarks": self.landmarks.plain(),
            "rna": self.rna.plain(),
            "protein": self.protein.plain(),
            "contrast": self.contrast.plain(),
            # tensors: a limit may be infinite, which JSON has not
            "typical": torch.tensor(self.typical, dtype=torch.float64),
            "limits": torch.tensor(self.limits, dtype=torch.float64),
            **{name: torch.from_numpy(getattr(self, name)) for name in _ARRAYS},
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Judge:
        """What `plain` was made of."""
        return cls(
            member=plain["member"],
            landmarks=Landmarks.from_plain(plain["landmarks"]),
            rna=DepthCurve.from_plain(plain["rna"]),
            protein=DepthCurve.from_plain(plain["protein"]),
            contrast=Contrast.from_plain(plain["contrast"]),
            typical=tuple(plain["typical"].tolist()),
            limits=tuple(plain["limits"].tolist()),
            **{name: plain[name].numpy() for name in _ARRAYS},
        )

    def _profile(self, latents: Array, told: Told) -> Array:
        return np.append(self._shares(latents), np.log(told.car + _PSEUDO))

    def _shares(self, latents: Array) -> Array:
        return _composition(self.landmarks.nearest(latents)[0], self.landmarks)


_ARRAYS: Final = ("composition", "precision")


def _over_finite(statistic: Callable[[Array], Any], values: Array) -> float:
    sound = values[np.isfinite(values)]
    return float(statistic(sound)) if len(sound) else np.nan


def _curve(depth: Sequence[Array], cost: Sequence[Array]) -> DepthCurve:
    return DepthCurve.fit(np.concatenate(depth), np.concatenate(cost))


def _composition(nearest: Array, landmarks: Landmarks) -> Array:
    """(k) centred log-ratio of the shares of landmarks."""
    count = np.bincount(nearest, minlength=len(landmarks.centres))
    log = np.log(count / max(count.sum(), 1) + _PSEUDO)
    centred: Array = log - log.mean()
    return centred


def _quantile(values: Array, weight: Array, q: float) -> float:
    """Weighted quantile of the finite values; infinite where there are none."""
    sound = np.isfinite(values)
    if not sound.any():
        return np.inf
    order = np.argsort(values[sound])
    cumulated = np.cumsum(weight[sound][order])
    place = np.searchsorted(cumulated, q * cumulated[-1])
    return float(values[sound][order][min(place, len(order) - 1)])
