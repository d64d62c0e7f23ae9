"""Standardisation of bag features that no label enters, so that all inner folds share it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BagScaling"]


@dataclass(frozen=True)
class BagScaling:
    """Standardisation by mean and SD of the development bags.

    The features of a group with a shared unit, such as fractions, means or proteins, have one
    scale, the root mean square of their SD. By its own SD, a prototype that hardly any bag has
    would stand thousands of SD away in the first bag that has it. A group weighs as one feature.

    Nothing is extrapolated: a bag beyond the second lowest or the second highest development bag in
    a feature (`low` to `high`) counts as that bag. So no bag, fitted on or left out of an inner
    fold, stands further out than another one does.

    Attributes
    ----------
    mean, scale, low, high
        (f).
    """

    mean: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    @staticmethod
    def fit(features: Tensor, groups_f: Tensor, shared: int) -> BagScaling:
        """Fit on `features` (n, f), NaN where not measured; the first `shared` groups share units.

        With fewer than three measured bags in a feature the outermost ones stay.
        """
        present = torch.isfinite(features)
        count = present.sum(0)
        ascending = torch.where(present, features, torch.inf).sort(dim=0).values
        inset = (count >= 3).long()
        low = ascending.gather(0, inset.unsqueeze(0)).squeeze(0)
        high = ascending.gather(0, (count - 1 - inset).clamp_min(0).unsqueeze(0)).squeeze(0)
        inside = torch.where(present, features.clamp(low, high), 0.0)
        mean = inside.sum(0) / count.clamp_min(1)
        variance = torch.where(present, inside - mean, 0.0).square().sum(0) / count.clamp_min(1)
        unit = variance.clone()
        size_k = torch.bincount(groups_f)
        for k in range(min(shared, len(size_k))):
            unit[groups_f == k] = variance[groups_f == k].mean()
        scale = torch.where(variance > 1e-12, (unit * size_k[groups_f]).sqrt(), torch.inf)
        return BagScaling(mean, scale, low, high)

    def apply(self, features: Tensor) -> Tensor:
        """Scaled `features`; what was not measured becomes 0, the mean of the development bags."""
        scaled = features.clamp(self.low, self.high).sub_(self.mean).div_(self.scale)
        return scaled.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
