"""Standardisation of bag features on training bags, for many members or folds at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["FeatureScaling"]

_SHARED_UNITS = 2  # the first groups of features, fractions and means, have one unit each


@dataclass(frozen=True)
class FeatureScaling:
    """Standardisation by training mean and SD; a group of features weighs as one feature.

    Fractions share one unit, and so do prototype means: each of these groups has one scale, its
    root mean square SD. By its own SD, a prototype that hardly any training bag has would stand
    thousands of SD away in the first bag that has it.

    Nothing is extrapolated: a bag beyond all training bags in a feature (`low` to `high`) counts as
    the outermost of them.

    Attributes
    ----------
    mean, scale, low, high
        (f), or (q, f) for a stack.
    """

    mean: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    @staticmethod
    def fit(features: Tensor, groups_f: Tensor, weight: Tensor) -> FeatureScaling:
        """Fit on the bags of weight above 0: `features` (q, n, f) or (n, f), `weight` without f."""
        present = torch.isfinite(features) & (weight > 0).unsqueeze(-1)
        count = present.sum(-2).clamp_min(1)
        mean = torch.where(present, features, 0.0).sum(-2) / count
        centred = torch.where(present, features - mean.unsqueeze(-2), 0.0)
        variance = centred.square().sum(-2) / count
        size_k = torch.bincount(groups_f)
        unit = variance.clone()
        for k in range(_SHARED_UNITS):
            unit[..., groups_f == k] = variance[..., groups_f == k].mean(-1, keepdim=True)
        scale = torch.where(variance > 1e-12, (unit * size_k[groups_f]).sqrt(), torch.inf)
        low = torch.where(present, features, torch.inf).amin(-2)
        high = torch.where(present, features, -torch.inf).amax(-2)
        return FeatureScaling(mean, scale, low, high)

    def apply(self, features: Tensor) -> Tensor:
        """Scaled `features`; what was not measured becomes 0, the training mean."""
        low, high, mean, scale = (
            part.unsqueeze(-2) for part in (self.low, self.high, self.mean, self.scale)
        )
        scaled = features.clamp(low, high).sub_(mean).div_(scale)
        return scaled.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)

    def of(self, member: int) -> FeatureScaling:
        """That of one member of a stack, in storage of its own."""
        return FeatureScaling(
            self.mean[member].clone(),
            self.scale[member].clone(),
            self.low[member].clone(),
            self.high[member].clone(),
        )
