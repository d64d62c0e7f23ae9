"""A response loss of the bags in a minibatch, through which labels shape the latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recart.models.noise import member_generator
from recart.models.prototypes import centred_log_ratio, shrunken_means
from recart.models.restack import keep_members, shapes_of

__all__ = ["BagTerms"]

_STREAM = -3000  # away from the streams of the encoder's weights


@final
class BagTerms(nn.Module):
    """Soft prototypes and a linear readout of each member; both learn.

    The cells that a minibatch has of a bag are pooled as the default head pools all of them:
    centred log fractions on each prototype, and means shrunken towards its centre as if `shrinkage`
    cells stood there. Readouts begin at 0.
    """

    def __init__(
        self, seeds: Sequence[int], prototypes: int, latent: int, shrinkage: float
    ) -> None:
        super().__init__()
        shape, members = (prototypes, latent), len(seeds)
        drawn = [torch.randn(shape, generator=member_generator(own, _STREAM)) for own in seeds]
        self.centres_mkl = nn.Parameter(torch.stack(drawn))
        self.weight_mkf = nn.Parameter(torch.zeros(members, prototypes, 1 + latent))
        self.bias_m1 = nn.Parameter(torch.zeros(members, 1))
        self.shrinkage = shrinkage

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members alone."""
        keep_members(self, members, shapes_of(self))

    def logits(
        self, z_mbl: Float[Tensor, "m b l"], bag_mnb: Float[Tensor, "m n b"]
    ) -> Float[Tensor, "m n"]:
        """Log odds of each bag; `bag_mnb` is 1 where a cell is of the bag."""
        centres = self.centres_mkl
        # |z|^2 cancels in the softmax
        near_mbk = z_mbl @ centres.mT - 0.5 * centres.square().sum(-1).unsqueeze(1)
        weight_mbk = torch.softmax(near_mbk, dim=-1)
        mass_mnk = bag_mnb @ weight_mbk
        sum_mnkl = torch.einsum("mnb,mbk,mbl->mnkl", bag_mnb, weight_mbk, z_mbl)
        mean_mnkl = torch.stack(
            [
                shrunken_means(sums, mass.unsqueeze(-1).expand_as(sums), own, self.shrinkage)
                for sums, mass, own in zip(sum_mnkl, mass_mnk, centres, strict=True)
            ]
        )
        features_mnkf = torch.cat((centred_log_ratio(mass_mnk).unsqueeze(-1), mean_mnkl), dim=-1)
        return torch.einsum("mnkf,mkf->mn", features_mnkf, self.weight_mkf) + self.bias_m1

    def forward(
        self,
        z_mbl: Float[Tensor, "m b l"],
        bag_mnb: Float[Tensor, "m n b"],
        label_mn: Int[Tensor, "m n"],
    ) -> Float[Tensor, " m"]:
        """Mean log loss of each member's bags of label 1 or 0; 0 where it has none of them."""
        known_mn = label_mn >= 0
        loss_mn = nn.functional.binary_cross_entropy_with_logits(
            self.logits(z_mbl, bag_mnb), label_mn.clamp_min(0).to(z_mbl.dtype), reduction="none"
        )
        total_m = torch.where(known_mn, loss_mn, 0.0).sum(-1)
        return total_m / known_mn.sum(-1).clamp_min(1)
