"""The joint encoder: RNA, surface protein and receptor of a cell, each with its mask, into `z`."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recart.contracts import CellBatch
from recart.models.noise import Noise
from recart.models.sparse import SparseLinear
from recart.models.stacked import StackedLinear, StackedMLP

__all__ = ["Encoder", "Posterior", "log_depth_normalised"]

_VARIANCE_FLOOR = 1e-4  # as scvi-tools' encoder


class Posterior(NamedTuple):
    """Gaussian `q(z | cell)`: mean and variance."""

    mean_mbl: Float[Tensor, "m b l"]
    variance_mbl: Float[Tensor, "m b l"]


def log_depth_normalised(
    counts_mbf: Float[Tensor, "m b f"],
    mask_mbf: Float[Tensor, " m #b f"],
) -> Float[Tensor, "m b f"]:
    """`log(1 + x / (1 + mean x))`, the mean over measured features; masked features are 0.

    With nothing masked this is the input transformation of scvi-tools' TOTALVI.
    """
    measured = mask_mbf.sum(-1, keepdim=True).clamp_min(1.0)
    mean = (counts_mbf * mask_mbf).sum(-1, keepdim=True) / measured
    return torch.log1p(counts_mbf / (1 + mean)) * mask_mbf


@final
class Encoder(nn.Module):
    """Transformed RNA, protein and receptor, with presence masks and batch, to `q(z | cell)`.

    Presence enters as indicators of what is *missing*, through weights of their own: a cell with
    everything measured passes through exactly totalVI's encoder, and "missing" differs from
    "measured and zero".
    """

    def __init__(
        self,
        members: int,
        sizes: tuple[int, int, int],
        latent: int,
        hidden: int,
        layers: int,
        conditions: int,
        dropout: float,
    ) -> None:
        super().__init__()
        genes, proteins, receptor = sizes
        rest = proteins + receptor
        self.rna = SparseLinear(members, genes, hidden, beside=rest)
        self.hidden = StackedMLP(members, rest, hidden, layers, conditions, dropout, beside=genes)
        # zero: what was never missing in training moves nothing when it is missing later
        self.missing = nn.Parameter(torch.zeros(members, proteins + 1, hidden))
        self.mean = StackedLinear(members, hidden, latent)
        self.log_variance = StackedLinear(members, hidden, latent)

    def features(self, batch: CellBatch) -> tuple[Float[Tensor, "m b i"], Float[Tensor, "m b j"]]:
        """Inputs of the first layer besides RNA, and the indicators of what is missing."""
        dtype = batch.y_mba.dtype
        y_mask = batch.y_mask_mba.to(dtype)
        protein = log_depth_normalised(batch.y_mba, y_mask)
        has_receptor = batch.r_mask_mb.to(dtype).unsqueeze(-1)
        inputs = torch.cat((protein, batch.r_mbt * has_receptor), dim=-1)
        unmeasured = 1 - batch.r_measured_mb.to(dtype).unsqueeze(-1)
        return inputs, torch.cat((1 - y_mask, unmeasured), dim=-1)

    def forward(
        self, batch: CellBatch, rna_n: Float[Tensor, " n"], noise: Noise | None
    ) -> Posterior:
        """`q(z | cell)` given each cell's batch (`batch.batch_mbe`; a zero row gives no shift).

        `rna_n` is the transformed RNA at the non-zeros of `batch.x`.
        """
        return self.given_batch(self.first_layer(batch, rna_n), batch.batch_mbe, noise)

    def first_layer(self, batch: CellBatch, rna_n: Float[Tensor, " n"]) -> Float[Tensor, "m b h"]:
        """The first linear map without the batch covariate: the costly part, shared by batches."""
        inputs, missing = self.features(batch)
        shift: Tensor = torch.baddbmm(self.rna(rna_n, batch.x), missing, self.missing)
        rest: Tensor = self.hidden.first.linear(inputs)
        return shift + rest

    def given_batch(
        self,
        first_mbh: Float[Tensor, "m b h"],
        batch_mbe: Float[Tensor, "m b e"],
        noise: Noise | None,
    ) -> Posterior:
        """The rest of the encoder for a given batch covariate."""
        first = self.hidden.first
        h_mbh = first.activate(first_mbh + torch.bmm(batch_mbe, first.linear.condition), noise)
        for block in list(self.hidden.blocks)[1:]:
            h_mbh = block(h_mbh, batch_mbe, noise)
        variance = torch.exp(self.log_variance(h_mbh)) + _VARIANCE_FLOOR
        return Posterior(self.mean(h_mbh), variance)

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
        first = self.first_layer(batch, rna_n)
        known = self.given_batch(first, batch.batch_mbe, None)
        unknown_mb1 = batch.batch_mbe.sum(-1, keepdim=True) == 0
        unknown_mb1 &= batch.weight_mb.unsqueeze(-1) > 0  # padding rows cost no pass over batches
        if not bool(unknown_mb1.any()) or prior_me.shape[1] == 0:
            return known
        mean = torch.zeros_like(known.mean_mbl)
        second = torch.zeros_like(known.mean_mbl)
        for e in range(prior_me.shape[1]):
            one_hot = torch.zeros_like(batch.batch_mbe)
            one_hot[..., e] = 1.0
            given = self.given_batch(first, one_hot, None)
            weight = prior_me[:, e, None, None]
            mean = mean + weight * given.mean_mbl
            second = second + weight * (given.variance_mbl + given.mean_mbl.square())
        return Posterior(
            torch.where(unknown_mb1, mean, known.mean_mbl),
            torch.where(unknown_mb1, second - mean.square(), known.variance_mbl),
        )
