"""Soft prototypes in latent space: how a bag of cells becomes a few numbers per prototype."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Prototypes", "centred_log_ratio", "shrunken_means"]


@dataclass(frozen=True, kw_only=True)
class Prototypes:
    """Centres in latent space and the squared width of the soft assignment.

    A cell belongs to prototype `k` with weight `softmax_k(-|z - centre_k|^2 / (2 width))`.
    """

    centres_kl: Float[Tensor, "k l"]
    width: float

    def assign(self, z_cl: Float[Tensor, "c l"]) -> Float[Tensor, "c k"]:
        """Membership of every cell; rows sum to 1."""
        # |z|^2 cancels in the softmax
        product = z_cl @ self.centres_kl.T - 0.5 * self.centres_kl.square().sum(-1)
        return torch.softmax(product / self.width, dim=-1)


def centred_log_ratio(mass_k: Float[Tensor, "*s k"]) -> Float[Tensor, "*s k"]:
    """Centred log-ratio (Aitchison, 1982) of cells on each prototype.

    Half a cell on each keeps the logarithm finite where none is there.
    """
    log_k = torch.log(mass_k + 0.5)
    return log_k - log_k.mean(-1, keepdim=True)


def shrunken_means(
    sum_kf: Float[Tensor, "*s k f"],
    mass_kf: Float[Tensor, "*s k f"],
    usual_kf: Float[Tensor, "k f"],
    shrinkage: float,
) -> Float[Tensor, "*s k f"]:
    """Means of cells on each prototype against the usual mean, shrunken towards it.

    As if `shrinkage` cells of the usual mean were there too: where a bag has no cells of a
    prototype it is 0.
    """
    return (sum_kf - mass_kf * usual_kf) / (mass_kf + shrinkage)
