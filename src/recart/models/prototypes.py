"""Soft prototypes in latent space: how a bag of cells becomes a few numbers per prototype."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Prototypes"]


@dataclass(frozen=True, kw_only=True)
class Prototypes:
    """Centres in latent space and the squared width of the soft assignment.

    A cell belongs to prototype `k` with weight `softmax_k(-|z - centre_k|^2 / (2 width))`. Per
    bag and prototype there are the centred log-ratio of its share of cells (Aitchison, 1982),
    and the mean latent relative to the centre, shrunken towards 0 as if `shrinkage` cells lay
    exactly on it.
    """

    centres_kl: Float[Tensor, "k l"]
    width: float
    shrinkage: float

    def assign(self, z_cl: Float[Tensor, "c l"]) -> Float[Tensor, "c k"]:
        """Membership of every cell; rows sum to 1."""
        # |z|^2 cancels in the softmax
        product = z_cl @ self.centres_kl.T - 0.5 * self.centres_kl.square().sum(-1)
        return torch.softmax(product / self.width, dim=-1)

    def pool(self, z_cl: Float[Tensor, "c l"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k l"]]:
        """CLR fractions and shrunken means of one bag; the order of cells does not matter."""
        weight_ck = self.assign(z_cl)
        mass_k = weight_ck.sum(0)
        # half a cell on each prototype keeps the logarithm finite where none is there
        log_k = torch.log(mass_k + 0.5)
        sum_kl = weight_ck.T @ z_cl - mass_k.unsqueeze(-1) * self.centres_kl
        return log_k - log_k.mean(), sum_kl / (mass_k + self.shrinkage).unsqueeze(-1)
