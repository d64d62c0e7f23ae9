"""The default head: soft prototypes of the latents, then an exact ridge logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from recart.models.prototypes import Prototypes
from recart.models.ridge_logistic import fit_ridge_logistic
from recart.training.heads import Array, BagLatents, FittedHead, Head

__all__ = ["FittedPrototypeHead", "PrototypeHead"]

_SHARED_UNITS = 2  # the first groups of features, fractions and means, have one unit each


@final
@dataclass(frozen=True, kw_only=True)
class PrototypeHead(Head):
    """Recipe of the prototype head.

    `prototypes` centres are k-means centres of at most `cells` development cells, drawn equally
    from every bag. `shrinkage` is in cells. The ridge strength is the one of `strengths` with the
    least log loss over `inner_folds` stratified folds of the development patients. `use_extras`
    lets clone statistics in.
    """

    prototypes: int
    shrinkage: float
    cells: int
    strengths: Sequence[float]
    inner_folds: int
    use_extras: bool

    def fit(self, bags: BagLatents, labels: Array, seed: int) -> FittedPrototypeHead:
        """Fit prototypes, choose the ridge strength on inner folds, refit on all given bags."""
        prototypes = self._fit_prototypes(bags, seed)
        features, groups, names = _features(prototypes, bags, self.use_extras)
        y = torch.as_tensor(labels, dtype=torch.float64)
        folds = _inner_folds(labels, bags.patients, self.inner_folds, seed)
        strengths = torch.tensor(list(self.strengths), dtype=torch.float64)
        log_loss_s, inner_logits_sn = _inner_log_loss(features, groups, y, folds, strengths)
        best = int(log_loss_s.argmin())
        scaling = _Scaling.fit(features, groups, torch.ones_like(y))
        scaled = scaling.apply(features)
        coefficients, intercept = fit_ridge_logistic(
            scaled[None], y[None], torch.ones_like(y)[None], strengths[best : best + 1]
        )
        return FittedPrototypeHead(
            prototypes=prototypes,
            use_extras=self.use_extras,
            scaling=scaling,
            coefficients=coefficients[0],
            intercept=float(intercept[0]),
            chosen={
                "strength": float(strengths[best]),
                "inner_log_loss": float(log_loss_s[best]),
                "inner_log_losses": log_loss_s.tolist(),
                "inner_logits": inner_logits_sn[best].tolist(),
                "features": names,
            },
        )

    def restore(self, state: dict[str, Any]) -> FittedPrototypeHead:
        """The fitted head of a checkpoint."""
        return FittedPrototypeHead(
            prototypes=Prototypes(
                centres_kl=state["centres_kl"], width=state["width"], shrinkage=state["shrinkage"]
            ),
            use_extras=state["use_extras"],
            scaling=_Scaling(state["mean"], state["scale"], state["low"], state["high"]),
            coefficients=state["coefficients"],
            intercept=state["intercept"],
            chosen=state["chosen"],
        )

    def _fit_prototypes(self, bags: BagLatents, seed: int) -> Prototypes:
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits

        rng = np.random.default_rng(seed)
        per_bag = max(1, self.cells // len(bags.latents))
        cells = np.concatenate(
            [
                z if len(z) <= per_bag else z[rng.choice(len(z), per_bag, False)]
                for z in bags.latents
            ]
        ).astype(np.float64)
        count = min(self.prototypes, len(np.unique(cells, axis=0)))
        with threadpool_limits(1):  # sums in one order, so that a fit repeats to the bit
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
    scaling: _Scaling
    coefficients: Tensor
    intercept: float
    chosen: dict[str, Any]

    @property
    def inner_loss(self) -> float:
        """Inner cross-validated log loss of the chosen ridge strength."""
        return float(self.chosen["inner_log_loss"])

    def logits(self, bags: BagLatents) -> Array:
        """(n) log odds."""
        features, _, _ = _features(self.prototypes, bags, self.use_extras)
        # row by row: a bag's score is the same numbers in any company
        rows = [self.scaling.apply(row[None])[0] @ self.coefficients for row in features]
        logits: Array = (torch.stack(rows) + self.intercept).numpy()
        return logits

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
            "intercept": self.intercept,
            "chosen": self.chosen,
        }


@dataclass(frozen=True)
class _Scaling:
    """Standardisation by training mean and SD; a group of features weighs as one feature.

    Fractions share one unit, and so do prototype means: each of these groups has one scale, its
    root mean square SD. By its own SD, a prototype that hardly any training bag has would stand
    thousands of SD away in the first bag that has it.

    Nothing is extrapolated: a bag beyond all training bags in a feature (`low` to `high`) counts as
    the outermost of them.
    """

    mean: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    @staticmethod
    def fit(features_nf: Tensor, groups_f: Tensor, weight_n: Tensor) -> _Scaling:
        present = torch.isfinite(features_nf) & (weight_n > 0).unsqueeze(-1)
        count = present.sum(0).clamp_min(1)
        values = torch.where(present, features_nf, 0.0)
        mean = values.sum(0) / count
        variance = torch.where(present, (features_nf - mean).square(), 0.0).sum(0) / count
        size_k = torch.bincount(groups_f)
        shared_k = torch.zeros_like(size_k, dtype=variance.dtype)
        shared_k = shared_k.index_add(0, groups_f, variance) / size_k
        unit = torch.where(groups_f < _SHARED_UNITS, shared_k[groups_f], variance)
        scale = torch.where(variance > 1e-12, (unit * size_k[groups_f]).sqrt(), torch.inf)
        low = torch.where(present, features_nf, torch.inf).amin(0)
        high = torch.where(present, features_nf, -torch.inf).amax(0)
        return _Scaling(mean, scale, low, high)

    def apply(self, features_nf: Tensor) -> Tensor:
        """What was not measured becomes 0, the training mean."""
        scaled = (features_nf.clamp(self.low, self.high) - self.mean) / self.scale
        return torch.where(torch.isfinite(scaled), scaled, 0.0)


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


def _inner_folds(labels: Array, patients: Array, folds: int, seed: int) -> list[Array]:
    """Test rows of each inner fold; patients stay whole."""
    from sklearn.model_selection import StratifiedGroupKFold

    smaller = min(len(np.unique(patients[labels == value])) for value in (0, 1))
    if smaller < 2:
        raise ValueError(
            f"inner folds need two patients of each class among the development patients, "
            f"the smaller class has {smaller}; use fewer outer folds (data.folds.k)"
        )
    splitter = StratifiedGroupKFold(min(folds, smaller), shuffle=True, random_state=seed)
    return [test for _, test in splitter.split(np.zeros(len(labels)), labels, patients)]


def _inner_log_loss(
    features: Tensor, groups: Tensor, y: Tensor, folds: Sequence[Array], strengths: Tensor
) -> tuple[Tensor, Tensor]:
    """(s) inner log loss and (s, n) inner held-out logits of every strength: one stacked fit."""
    scaled, weights = [], []
    for test in folds:
        weight = torch.ones_like(y)
        weight[torch.from_numpy(test)] = 0.0
        weights.append(weight)
        scaled.append(_Scaling.fit(features, groups, weight).apply(features))
    x_inf, w_in = torch.stack(scaled), torch.stack(weights)
    count = len(strengths)
    coefficients, intercepts = fit_ridge_logistic(
        x_inf.repeat(count, 1, 1),
        y.expand(count * len(folds), -1),
        w_in.repeat(count, 1),
        strengths.repeat_interleave(len(folds)),
    )
    logits = torch.einsum("inf,sif->sin", x_inf, coefficients.view(count, len(folds), -1))
    logits = logits + intercepts.view(count, len(folds), 1)
    held_out = torch.where(w_in == 0, logits, 0.0).sum(1)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        held_out, y.expand_as(held_out), reduction="none"
    )
    return loss.mean(-1), held_out
