"""The joint encoder: RNA, surface protein and receptor of a cell, each with its mask, into `z`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recart.contracts import CellBatch
from recart.models.cell_encoder import (
    CellEncoder,
    EncoderSizes,
    GaussianHead,
    GivenBatch,
    StackedEncoder,
    log_depth_normalised,
)
from recart.models.sparse import SparseLinear
from recart.models.stacked import StackedLinear, StackedMLP
from recart.ranges import AT_LEAST_ONE, require

__all__ = ["JointEncoder"]


@final
@dataclass(frozen=True)
class JointEncoder(CellEncoder):
    """TotalVI's encoder: one network of `layers` layers reads all modalities of a cell."""

    layers: int = 2

    def __post_init__(self) -> None:
        """Refuse a network without a layer, as a `ValueError`."""
        require(self, {"layers": AT_LEAST_ONE})

    def stack(self, sizes: EncoderSizes, dropout: float) -> StackedEncoder:
        """Weights of the encoder."""
        return _StackedJoint(sizes, self.layers, dropout)


@final
class _StackedJoint(StackedEncoder):
    """Transformed RNA, protein and receptor, with presence masks and batch, to `q(z | cell)`.

    Presence enters as indicators of what is *missing*, through weights of their own: a cell with
    everything measured passes through exactly totalVI's encoder, and "missing" differs from
    "measured and zero".
    """

    def __init__(self, sizes: EncoderSizes, layers: int, dropout: float) -> None:
        super().__init__(sizes)
        members, hidden = sizes.members, sizes.hidden
        rest = sizes.proteins + sizes.receptor
        self.rna = SparseLinear(members, sizes.genes, hidden, beside=rest)
        self.hidden = StackedMLP(
            members, rest, hidden, layers, sizes.conditions, dropout, beside=sizes.genes
        )
        # zero: what was never missing in training moves nothing when it is missing later
        self.missing = nn.Parameter(torch.zeros(members, sizes.proteins + 1, hidden))
        self.missing_rna = nn.Parameter(torch.zeros(members, 1, hidden))
        self.mean = StackedLinear(members, hidden, sizes.latent)
        self.log_variance = StackedLinear(members, hidden, sizes.latent)

    def features(self, batch: CellBatch) -> tuple[Float[Tensor, "m b i"], Float[Tensor, "m b j"]]:
        """Inputs of the first layer besides RNA, and the indicators of what is missing."""
        dtype = batch.y_mba.dtype
        y_mask = batch.y_mask_mba.to(dtype)
        protein = log_depth_normalised(batch.y_mba, y_mask, self.protein_weight_m1a)
        has_receptor = batch.r_mask_mb.to(dtype).unsqueeze(-1)
        inputs = torch.cat((protein, batch.r_mbt * has_receptor), dim=-1)
        unmeasured = 1 - batch.r_measured_mb.to(dtype).unsqueeze(-1)
        return inputs, torch.cat((1 - y_mask, unmeasured), dim=-1)

    def before_batch(self, batch: CellBatch, rna_n: Float[Tensor, " n"]) -> GivenBatch:
        """The first linear map, shared by batches."""
        inputs, missing = self.features(batch)
        shift: Tensor = torch.baddbmm(self.rna(rna_n, batch.x), missing, self.missing)
        unseen = ~(batch.x_seen_mb & batch.x_mask_mg.any(-1, keepdim=True))
        shift = torch.addcmul(shift, unseen.unsqueeze(-1).to(shift.dtype), self.missing_rna)
        first_mbh: Tensor = shift + self.hidden.first.linear(inputs)
        return GaussianHead(self.hidden, self.mean, self.log_variance).after(first_mbh)
