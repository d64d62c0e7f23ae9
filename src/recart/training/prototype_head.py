"""The default head: soft prototypes of the latents, then an exact ridge logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from recart.models.prototypes import Prototypes
from recart.training.endpoints.binary import BinaryEndpoint
from recart.training.endpoints.endpoint import Endpoint
from recart.training.feature_scaling import FeatureScaling
from recart.training.heads import Array, BagLatents, FittedHead, Head
from recart.training.ridge_selection import Ridge, fit_ridges, inner_folds

__all__ = ["FittedPrototypeHead", "PrototypeHead"]


@final
@dataclass(frozen=True, kw_only=True)
class PrototypeHead(Head):
    """Recipe of the prototype head.

    `prototypes` centres are k-means centres of at most `cells` development cells, drawn equally
    from every bag. `shrinkage` is in cells. The ridge strength is the one of `strengths` with the
    least log loss over `inner_folds` stratified folds of the development patients. `use_extras`
    lets clone statistics in. `endpoint` is what the regression predicts; bags whose target is not
    known (NaN) shape the prototypes only.
    """

    prototypes: int
    shrinkage: float
    cells: int
    strengths: Sequence[float]
    inner_folds: int
    use_extras: bool
    endpoint: Endpoint = field(default_factory=BinaryEndpoint)

    def fit_stack(
        self, bags: Sequence[BagLatents], labels: Sequence[Array], seeds: Sequence[int]
    ) -> list[FittedPrototypeHead]:
        """Fit prototypes, choose the ridge strength on inner folds, refit on all given bags."""
        pooled = self._pool(bags, seeds)
        ridges = self._ridges(pooled, [own.patients for own in bags], labels, seeds)
        return [
            FittedPrototypeHead(
                prototypes=own.prototypes,
                use_extras=self.use_extras,
                scaling=ridge.scaling,
                coefficients=ridge.coefficients,
                offsets=ridge.offsets,
                endpoint=self.endpoint,
                chosen={
                    "strength": ridge.strength,
                    "inner_log_loss": min(ridge.inner_log_losses),
                    "inner_log_losses": ridge.inner_log_losses,
                    "inner_logits": ridge.inner_logits,
                    "features": own.names,
                },
            )
            for own, ridge in zip(pooled, ridges, strict=True)
        ]

    def relabelled_logits(
        self,
        fitted: FittedHead,
        development: BagLatents,
        held_out: BagLatents,
        labels: Sequence[Array],
        seed: int,
    ) -> Array:
        """(k, n) log odds of the held-out bags; the prototypes, which no label enters, stay."""
        if not isinstance(fitted, FittedPrototypeHead):
            raise TypeError(f"expected a fitted prototype head, got {type(fitted).__name__}")
        prototypes, count = fitted.prototypes, len(labels)
        pooled = _Pooled(prototypes, *_features(prototypes, development, self.use_extras))
        ridges = self._ridges(
            [pooled] * count, [development.patients] * count, labels, [seed] * count
        )
        features, _, _ = _features(prototypes, held_out, self.use_extras)
        logits = [
            self.endpoint.log_odds(own.scaling.apply(features) @ own.coefficients, own.offsets)
            for own in ridges
        ]
        scored: Array = torch.stack(logits).numpy()
        return scored

    def restore(self, state: dict[str, Any]) -> FittedPrototypeHead:
        """The fitted head of a checkpoint."""
        return FittedPrototypeHead(
            prototypes=Prototypes(
                centres_kl=state["centres_kl"], width=state["width"], shrinkage=state["shrinkage"]
            ),
            use_extras=state["use_extras"],
            scaling=FeatureScaling(state["mean"], state["scale"], state["low"], state["high"]),
            coefficients=state["coefficients"],
            # files of before have the intercept of response or none
            offsets=torch.as_tensor(
                state["offsets"] if "offsets" in state else [state["intercept"]],
                dtype=torch.float64,
            ),
            endpoint=self.endpoint,
            chosen=state["chosen"],
        )

    def _ridges(
        self,
        pooled: Sequence[_Pooled],
        patients: Sequence[Array],
        labels: Sequence[Array],
        seeds: Sequence[int],
    ) -> list[Ridge]:
        """The regression of every member, its strength chosen on inner folds."""
        return fit_ridges(
            [own.features for own in pooled],
            [own.groups for own in pooled],
            [torch.as_tensor(own, dtype=torch.float64) for own in labels],
            [
                self._inner_folds(own, of, seed)
                for own, of, seed in zip(labels, patients, seeds, strict=True)
            ],
            torch.tensor(list(self.strengths), dtype=torch.float64),
            self.endpoint,
        )

    def _inner_folds(self, targets: Array, patients: Array, seed: int) -> list[Array]:
        """Inner folds of the bags whose target is known."""
        rows = np.flatnonzero(np.isfinite(targets.reshape(len(targets), -1)).all(axis=1))
        classes, grade = self.endpoint.strata(targets[rows])
        folds = inner_folds(classes, patients[rows], self.inner_folds, seed, grade)
        return [rows[own] for own in folds]

    def _pool(self, bags: Sequence[BagLatents], seeds: Sequence[int]) -> list[_Pooled]:
        """Prototypes and features of every member; no label enters, so equal bags share them."""
        from threadpoolctl import threadpool_limits

        pooled: dict[tuple[int, int], _Pooled] = {}
        keys = [(id(own), seed) for own, seed in zip(bags, seeds, strict=True)]
        with threadpool_limits(1):  # sums in one order, so that a fit repeats to the bit
            for key, own, seed in zip(keys, bags, seeds, strict=True):
                if key not in pooled:
                    prototypes = self._fit_prototypes(own, seed)
                    pooled[key] = _Pooled(prototypes, *_features(prototypes, own, self.use_extras))
        return [pooled[key] for key in keys]

    def _fit_prototypes(self, bags: BagLatents, seed: int) -> Prototypes:
        from sklearn.cluster import KMeans

        rng = np.random.default_rng(seed)
        per_bag = max(1, self.cells // len(bags.latents))
        cells = np.concatenate(
            [
                z if len(z) <= per_bag else z[rng.choice(len(z), per_bag, False)]
                for z in bags.latents
            ]
        ).astype(np.float64)
        count = _distinct(cells, self.prototypes)
        fit = KMeans(count, n_init=3, random_state=seed).fit(cells)
        width = fit.inertia_ / cells.size
        return Prototypes(
            centres_kl=torch.from_numpy(fit.cluster_centers_),
            width=max(float(width), 1e-6),
            shrinkage=self.shrinkage,
        )


@final
@dataclass(frozen=True, kw_only=True)
class FittedPrototypeHead(FittedHead):
    """Prototypes, standardisation and coefficients of one member.

    `chosen` records the ridge strength, the inner log losses and the names of the features.
    """

    prototypes: Prototypes
    use_extras: bool
    scaling: FeatureScaling
    coefficients: Tensor
    offsets: Tensor
    endpoint: Endpoint
    chosen: dict[str, Any]

    @property
    def inner_loss(self) -> float:
        """Inner cross-validated log loss of the chosen ridge strength."""
        return float(self.chosen["inner_log_loss"])

    @property
    def inner_logits(self) -> Array:
        """(n) logits of the development bags at the chosen strength."""
        return np.array(self.chosen["inner_logits"], dtype=np.float64)

    def logits(self, bags: BagLatents) -> Array:
        """(n) log odds of the endpoint's yes."""
        logits: Array = self.endpoint.log_odds(self._linear(bags), self.offsets).numpy()
        return logits

    def outputs(self, bags: BagLatents) -> dict[str, Array]:
        """What the endpoint says of each bag beside its log odds."""
        return self.endpoint.outputs(self._linear(bags), self.offsets)

    def _linear(self, bags: BagLatents) -> Tensor:
        features, _, _ = _features(self.prototypes, bags, self.use_extras)
        # row by row: a bag's score is the same numbers in any company
        rows = [self.scaling.apply(row[None])[0] @ self.coefficients for row in features]
        return torch.stack(rows)

    def embedding(self, bags: BagLatents) -> tuple[Array, list[str]]:
        """(n, f) CLR fractions, shrunken prototype means and clone statistics."""
        features, _, names = _features(self.prototypes, bags, self.use_extras)
        return features.numpy(), names

    def state(self) -> dict[str, Any]:
        """Plain Python and tensors."""
        return {
            "centres_kl": self.prototypes.centres_kl,
            "width": self.prototypes.width,
            "shrinkage": self.prototypes.shrinkage,
            "use_extras": self.use_extras,
            "mean": self.scaling.mean,
            "scale": self.scaling.scale,
            "low": self.scaling.low,
            "high": self.scaling.high,
            "coefficients": self.coefficients,
            "offsets": self.offsets,
            "endpoint": self.endpoint.described,
            "chosen": self.chosen,
        }


class _Pooled(NamedTuple):
    """What is known of one member's bags without their labels."""

    prototypes: Prototypes
    features: Tensor
    groups: Tensor
    names: list[str]


def _features(
    prototypes: Prototypes, bags: BagLatents, use_extras: bool
) -> tuple[Tensor, Tensor, list[str]]:
    """(n, f) features in float64, their group (f), and their names."""
    pooled = [prototypes.pool(torch.from_numpy(z.astype(np.float64))) for z in bags.latents]
    fractions = torch.stack([fraction for fraction, _ in pooled])
    means = torch.stack([mean.flatten() for _, mean in pooled])
    k, latent = prototypes.centres_kl.shape
    names = [f"fraction:{i}" for i in range(k)]
    names += [f"mean:{i}:{j}" for i in range(k) for j in range(latent)]
    parts = [fractions, means]
    if use_extras and bags.extras.shape[1]:
        extras = torch.from_numpy(bags.extras.astype(np.float64))
        parts += [extras, (~torch.isfinite(extras)).double()]
        names += [*bags.extra_names, *(f"{name}:missing" for name in bags.extra_names)]
    group = [torch.full((part.shape[1],), i) for i, part in enumerate(parts)]
    return torch.cat(parts, dim=1), torch.cat(group), names


def _distinct(cells: Array, at_most: int) -> int:
    """Number of different rows, counted no further than `at_most`."""
    few = cells[: 10 * at_most]  # nearly always enough, and all of them take long to sort
    found = len(np.unique(few, axis=0))
    if found < at_most:
        found = len(np.unique(cells, axis=0))
    return min(found, at_most)
