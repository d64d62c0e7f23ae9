"""The mean latents of a patient's cells, the simplest thing to read, and whose doing they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recart.training.bag_sums import BagSums

__all__ = ["BagMean"]


@dataclass(frozen=True, kw_only=True)
class BagMean:
    """Mean latents of bags against those of development cells.

    Attributes
    ----------
    usual_l
        Mean latents of all development cells. Empty in older files, which have no such features.
    usual_kl
        What the cells of each prototype add to a development bag, on average. Empty in older files,
        which cannot tell it.
    """

    usual_l: Tensor
    usual_kl: Tensor

    @classmethod
    def fit(cls, sums: BagSums, latents: int, shrinkage: float) -> BagMean:
        """Of development bags, whose labels do not enter. `shrinkage` is in cells."""
        total = sums.sums[:, 0, :, :latents].sum((0, 1))
        usual_l = total / sums.mass[:, 0].sum().clamp_min(1e-9)
        mean = cls(usual_l=usual_l, usual_kl=total.new_zeros((0, latents)))
        return cls(usual_l=usual_l, usual_kl=mean.parts(sums, shrinkage).mean(0))

    def parts(self, sums: BagSums, shrinkage: float) -> Tensor:
        """(n, k, l) what the cells of each prototype add to `of`."""
        mass = sums.mass[:, 0].unsqueeze(-1)
        moved = sums.sums[:, 0, :, : len(self.usual_l)] - mass * self.usual_l
        return moved / (mass.sum(1, keepdim=True) + shrinkage)

    def of(self, sums: BagSums, shrinkage: float) -> Tensor:
        """(n, l) mean latents less the usual ones, as if `shrinkage` usual cells were there."""
        return self.parts(sums, shrinkage).sum(1)

    def state(self) -> dict[str, Any]:
        """Tensors."""
        return {"usual_l": self.usual_l, "usual_kl": self.usual_kl}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> BagMean:
        """That of a checkpoint; `state` may hold more, and in older files less."""
        usual_l = state.get("usual_l", torch.zeros(0, dtype=torch.float64))
        none = torch.zeros((0, len(usual_l)), dtype=torch.float64)
        return cls(usual_l=usual_l, usual_kl=state.get("usual_kl", none))
