"""The default head: soft prototypes of the latents, then a blend of exact ridge regressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from recart.models.prototypes import Prototypes
from recart.ranges import AT_LEAST_ONE, NOT_NEGATIVE, Range
from recart.training.bag_scaling import BagScaling
from recart.training.blend import Blend, fit_blends
from recart.training.cell_view import CellView
from recart.training.endpoints.binary import BinaryEndpoint
from recart.training.endpoints.endpoint import Endpoint
from recart.training.heads import (
    Array,
    BagLatents,
    ChosenHead,
    FittedHead,
    Head,
    HeadWords,
)
from recart.training.inner_folds import inner_folds
from recart.training.prototype_features import Features, PrototypeFeatures

__all__ = ["FittedPrototypeHead", "PrototypeHead"]


@final
@dataclass(frozen=True, kw_only=True)
class PrototypeHead(Head):
    """Recipe of the prototype head.

    `prototypes` coarse and `fine_prototypes` fine centres (0: none) are k-means centres of at most
    `cells` development cells, drawn equally from every bag. `shrinkage` is in cells. Each group of
    features has regressions of its own, at the ridge strength of `strengths` with the least error
    over `inner_folds` stratified folds of the development patients; they are blended by that error.
    Two folds choose nothing: strengths are the middle one and weights those a priori.
    The simple model, a ridge on a bag's mean latents, is one of them, and outweighs several.
    `use_extras` lets clone statistics and covariates in. `endpoint` is what is predicted; bags
    whose target is not known (NaN) shape the prototypes only.
    """

    prototypes: int
    shrinkage: float
    cells: int
    strengths: Sequence[float]
    inner_folds: int
    use_extras: bool
    fine_prototypes: int = 0
    endpoint: Endpoint = field(default_factory=BinaryEndpoint)

    ranges: ClassVar[Mapping[str, Range]] = {
        "prototypes": AT_LEAST_ONE,
        "fine_prototypes": NOT_NEGATIVE,
        "shrinkage": NOT_NEGATIVE,
        "cells": AT_LEAST_ONE,
    }
    words: ClassVar[HeadWords] = HeadWords(
        penalty="ridge penalties, their strength chosen on inner folds for each group of features, "
        "and a blend of these regressions by their inner error",
        predictors="features are standardised on the training patients, and held between the "
        "second lowest and second highest of these, before the ridge regressions",
        reading="is linear in features whose coefficients stand in its file; that is no "
        "explanation of a prediction",
    )

    @property
    def quickly_refitted(self) -> bool:
        """Yes: prototypes stay."""
        return True

    def fit_stack(
        self, bags: Sequence[BagLatents], labels: Sequence[Array], seeds: Sequence[int]
    ) -> list[FittedPrototypeHead]:
        """Fit prototypes, blend regressions by inner folds, refit them on all given bags."""
        from threadpoolctl import threadpool_limits

        alike: dict[tuple[int, int], list[int]] = {}
        for member, (own, seed) in enumerate(zip(bags, seeds, strict=True)):
            alike.setdefault((id(own), seed), []).append(member)
        fitted: dict[int, FittedPrototypeHead] = {}
        with threadpool_limits(1):  # sums in one order, so that a fit repeats to the bit
            for members in alike.values():
                own, seed = bags[members[0]], seeds[members[0]]
                pooled = self._pool(own, seed)
                blends = self._blends(pooled, own.patients, [labels[m] for m in members], seed)
                for member, blend in zip(members, blends, strict=True):
                    fitted[member] = self._fitted(pooled, blend)
        return [fitted[member] for member in range(len(bags))]

    def relabelled_logits(
        self,
        fitted: FittedHead,
        development: BagLatents,
        held_out: BagLatents,
        labels: Sequence[Array],
        seed: int,
    ) -> Array:
        """(k, n) log odds of the held-out bags; the prototypes, which no label enters, stay."""
        from threadpoolctl import threadpool_limits

        if not isinstance(fitted, FittedPrototypeHead):
            raise TypeError(f"expected a fitted prototype head, got {type(fitted).__name__}")
        with threadpool_limits(1):
            pooled = _Pooled(fitted.features, fitted.features.of(development))
            blends = self._blends(pooled, development.patients, labels, seed)
            values = fitted.features.of(held_out).values
            logits = [
                self.endpoint.log_odds(
                    own.scaling.apply(values) @ own.coefficients - own.centre, own.offsets
                )
                for own in blends
            ]
        scored: Array = torch.stack(logits).numpy()
        return scored

    def restore(self, state: dict[str, Any]) -> FittedPrototypeHead:
        """The fitted head of a checkpoint."""
        return FittedPrototypeHead(
            features=PrototypeFeatures.restore(state["features"]),
            scaling=BagScaling(*(state[part] for part in ("mean", "scale", "low", "high"))),
            coefficients=state["coefficients"],
            centre=state["centre"],
            offsets=state["offsets"],
            endpoint=self.endpoint,
            chosen=state["chosen"],
        )

    def _fitted(self, pooled: _Pooled, blend: Blend) -> FittedPrototypeHead:
        groups = pooled.values.group_names
        return FittedPrototypeHead(
            features=pooled.features,
            scaling=blend.scaling,
            coefficients=blend.coefficients,
            centre=blend.centre,
            offsets=blend.offsets,
            endpoint=self.endpoint,
            chosen={
                "shares": dict(zip(groups, blend.shares, strict=True)),
                "strengths": dict(zip(groups, blend.strengths, strict=True)),
                "inner_log_loss": blend.inner_log_loss,
                "inner_logits": blend.inner_logits,
                "features": pooled.values.names,
            },
        )

    def _blends(
        self, pooled: _Pooled, patients: Array, labels: Sequence[Array], seed: int
    ) -> list[Blend]:
        return fit_blends(
            pooled.values.values,
            pooled.values.groups_f,
            pooled.values.shared,
            [torch.as_tensor(own, dtype=torch.float64) for own in labels],
            [self._inner_folds(own, patients, seed) for own in labels],
            torch.tensor(list(self.strengths), dtype=torch.float64),
            self.endpoint,
            pooled.values.simple,
        )

    def _inner_folds(self, targets: Array, patients: Array, seed: int) -> list[Array]:
        """Inner folds of the bags whose target is known."""
        rows = np.flatnonzero(np.isfinite(targets.reshape(len(targets), -1)).all(axis=1))
        classes, grade = self.endpoint.strata(targets[rows])
        folds = inner_folds(classes, patients[rows], self.inner_folds, seed, grade)
        return [rows[own] for own in folds]

    def _pool(self, bags: BagLatents, seed: int) -> _Pooled:
        """Prototypes and features of one member; no label enters."""
        view = CellView.fit(bags, seed)
        cells = view.cells(bags, self.cells, seed)
        numbers = [self.prototypes, *([self.fine_prototypes] if self.fine_prototypes else [])]
        features = PrototypeFeatures.fit(
            view,
            [_fit_prototypes(cells, number, seed) for number in numbers],
            bags,
            shrinkage=self.shrinkage,
            use_extras=self.use_extras,
        )
        return _Pooled(features, features.of(bags))


@final
@dataclass(frozen=True, kw_only=True)
class FittedPrototypeHead(ChosenHead):
    """Prototypes, standardisation and coefficients of one member.

    The linear predictor is `scaled features @ coefficients - centre`. `chosen` records the shares
    and ridge strengths of groups, the inner log loss and logits, and the names of the features.
    """

    features: PrototypeFeatures
    scaling: BagScaling
    coefficients: Tensor
    centre: float
    offsets: Tensor
    endpoint: Endpoint
    chosen: dict[str, Any]

    @property
    def prototypes(self) -> Prototypes:
        """The coarse prototypes, in the coordinates of `view`."""
        return self.features.prototypes[0]

    @property
    def view(self) -> CellView:
        """What the prototypes see of a cell."""
        return self.features.view

    def logits(self, bags: BagLatents) -> Array:
        """(n) log odds of the endpoint's yes."""
        logits: Array = self.endpoint.log_odds(self._linear(bags), self.offsets).numpy()
        return logits

    def outputs(self, bags: BagLatents) -> dict[str, Array]:
        """What the endpoint says of each bag beside its log odds."""
        return self.endpoint.outputs(self._linear(bags), self.offsets)

    def _linear(self, bags: BagLatents) -> Tensor:
        # row by row: a bag's score is the same numbers in any company
        rows = [
            self.scaling.apply(row[None])[0] @ self.coefficients
            for row in self.features.of(bags).values
        ]
        return torch.stack(rows) - self.centre

    def embedding(self, bags: BagLatents) -> tuple[Array, list[str]]:
        """(n, f) shares of cells, shrunken means, changes and clone statistics."""
        features: Features = self.features.of(bags)
        return features.values.numpy(), features.names

    def state(self) -> dict[str, Any]:
        """Plain Python and tensors."""
        return {
            "features": self.features.state(),
            "mean": self.scaling.mean,
            "scale": self.scaling.scale,
            "low": self.scaling.low,
            "high": self.scaling.high,
            "coefficients": self.coefficients,
            "centre": self.centre,
            "offsets": self.offsets,
            "endpoint": self.endpoint.described,
            "chosen": self.chosen,
        }


class _Pooled(NamedTuple):
    """What is known of one member's bags without their labels."""

    features: PrototypeFeatures
    values: Features


def _fit_prototypes(cells: Array, at_most: int, seed: int) -> Prototypes:
    from sklearn.cluster import KMeans

    fit = KMeans(_distinct(cells, at_most), n_init=3, random_state=seed).fit(cells)
    width = fit.inertia_ / cells.size
    centres = torch.from_numpy(fit.cluster_centers_)
    return Prototypes(centres_kl=centres, width=max(float(width), 1e-6))


def _distinct(cells: Array, at_most: int) -> int:
    """Number of different rows, counted no further than `at_most`."""
    few = cells[: 10 * at_most]  # nearly always enough, and all of them take long to sort
    found = len(np.unique(few, axis=0))
    if found < at_most:
        found = len(np.unique(cells, axis=0))
    return min(found, at_most)
