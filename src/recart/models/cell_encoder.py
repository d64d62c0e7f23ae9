"""What an encoder is: a recipe, and the weights it makes for a stack of members."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recart.contracts import CellBatch
from recart.models.noise import Noise
from recart.models.stacked import StackedLinear, StackedMLP

__all__ = [
    "CellEncoder",
    "EncoderSizes",
    "GaussianHead",
    "GivenBatch",
    "Posterior",
    "StackedEncoder",
    "log_depth_normalised",
]

_VARIANCE_FLOOR = 1e-4  # as scvi-tools' encoder


class Posterior(NamedTuple):
    """Gaussian `q(z | cell)`: mean and variance."""

    mean_mbl: Float[Tensor, "m b l"]
    variance_mbl: Float[Tensor, "m b l"]


GivenBatch = Callable[[Tensor, Noise | None], Posterior]
"""`q(z | cell)` as a function of the batch covariate (m b e) and of the noise of dropout."""


@dataclass(frozen=True, kw_only=True)
class EncoderSizes:
    """`members` encoders of genes, proteins and receptors, with `conditions` batch categories."""

    members: int
    genes: int
    proteins: int
    receptor: int
    hidden: int
    latent: int
    conditions: int


def log_depth_normalised(
    counts_mbf: Float[Tensor, "m b f"],
    mask_mbf: Float[Tensor, " m #b f"],
    weight_m1f: Float[Tensor, "m 1 f"],
) -> Float[Tensor, "m b f"]:
    """`log(1 + x / (1 + mean x))`, the mean as measured features tell it; masked features are 0.

    Features count by their weight: that of a masked one is missing in the sum and in the number.
    With nothing masked this is the input transformation of scvi-tools' TOTALVI.
    """
    measured = (mask_mbf * weight_m1f).sum(-1, keepdim=True).clamp_min(1e-3)
    mean = (counts_mbf * mask_mbf).sum(-1, keepdim=True) / measured
    return torch.log1p(counts_mbf / (1 + mean)) * mask_mbf


@dataclass(frozen=True)
class GaussianHead:
    """What follows the first linear map of an encoder, up to mean and variance."""

    hidden: StackedMLP
    mean: StackedLinear
    log_variance: StackedLinear

    def after(self, first_mbh: Float[Tensor, "m b h"]) -> GivenBatch:
        """Go on from the first linear map, which lacks the batch covariate so far."""
        first, rest = self.hidden.first, list(self.hidden.blocks)[1:]

        def given_batch(batch_mbe: Tensor, noise: Noise | None) -> Posterior:
            h_mbh = first_mbh + torch.bmm(batch_mbe, first.linear.condition)
            h_mbh = first.activate(h_mbh, noise)
            for block in rest:
                h_mbh = block(h_mbh, batch_mbe, noise)
            variance = torch.exp(self.log_variance(h_mbh)) + _VARIANCE_FLOOR
            return Posterior(self.mean(h_mbh), variance)

        return given_batch


class StackedEncoder(nn.Module, ABC):
    """The weights of an encoder for a stack of members.

    `protein_weight_m1a` says how much each protein counts for the depth of a cell when others are
    masked: 1 for all until it is set.
    """

    def __init__(self, sizes: EncoderSizes) -> None:
        super().__init__()
        self.register_buffer("protein_weight_m1a", torch.ones(sizes.members, 1, sizes.proteins))
        self.protein_weight_m1a: Tensor

    @abstractmethod
    def before_batch(self, batch: CellBatch, rna_n: Float[Tensor, " n"]) -> GivenBatch:
        """What does not depend on the batch covariate, done once: the costly part.

        `rna_n` is the transformed RNA at the non-zeros of `batch.x`.
        """

    def forward(
        self, batch: CellBatch, rna_n: Float[Tensor, " n"], noise: Noise | None
    ) -> Posterior:
        """`q(z | cell)` given each cell's batch (`batch.batch_mbe`; a zero row gives no shift)."""
        return self.before_batch(batch, rna_n)(batch.batch_mbe, noise)

    def marginal(
        self,
        batch: CellBatch,
        rna_n: Float[Tensor, " n"],
        prior_me: Float[Tensor, "m e"],
    ) -> Posterior:
        """`q(z | cell)`; for cells of unknown batch averaged over the member's batches.

        `prior_me` weighs the batch categories of each member (rows sum to 1). The average is the
        moment-matched Gaussian of the mixture over batches.
        """
        return self.over_batches(batch, rna_n, prior_me)[0]

    def over_batches(
        self,
        batch: CellBatch,
        rna_n: Float[Tensor, " n"],
        prior_me: Float[Tensor, "m e"],
    ) -> tuple[Posterior, list[Float[Tensor, "m b l"]]]:
        """`marginal`, and the mean as if each batch category were that of the unknown cells.

        The second costs nothing beside the first. It is empty where no batch is unknown.
        """
        given_batch = self.before_batch(batch, rna_n)
        known = given_batch(batch.batch_mbe, None)
        unknown_mb1 = batch.batch_mbe.sum(-1, keepdim=True) == 0
        unknown_mb1 &= batch.weight_mb.unsqueeze(-1) > 0  # padding rows cost no pass over batches
        if not bool(unknown_mb1.any()) or prior_me.shape[1] == 0:
            return known, []
        mean = torch.zeros_like(known.mean_mbl)
        second = torch.zeros_like(known.mean_mbl)
        means = []
        for e in range(prior_me.shape[1]):
            one_hot = torch.zeros_like(batch.batch_mbe)
            one_hot[..., e] = 1.0
            given = given_batch(one_hot, None)
            weight = prior_me[:, e, None, None]
            mean = mean + weight * given.mean_mbl
            second = second + weight * (given.variance_mbl + given.mean_mbl.square())
            means.append(torch.where(unknown_mb1, given.mean_mbl, known.mean_mbl))
        marginal = Posterior(
            torch.where(unknown_mb1, mean, known.mean_mbl),
            torch.where(unknown_mb1, second - mean.square(), known.variance_mbl),
        )
        return marginal, means


class CellEncoder(ABC):
    """A recipe for `StackedEncoder`."""

    @abstractmethod
    def stack(self, sizes: EncoderSizes, dropout: float) -> StackedEncoder:
        """Weights of the encoder."""
