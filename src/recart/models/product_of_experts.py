"""Product of experts: each modality has an encoder of its own, and a missing one has no say."""

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
    Posterior,
    StackedEncoder,
    log_depth_normalised,
)
from recart.models.noise import Noise
from recart.models.sparse import SparseLinear
from recart.models.stacked import StackedLinear, StackedMLP
from recart.ranges import AT_LEAST_ONE, require

__all__ = ["ProductOfExperts"]


@final
@dataclass(frozen=True)
class ProductOfExperts(CellEncoder):
    """Encoders of `layers` layers for RNA, protein and receptor, multiplied with the prior.

    Wu & Goodman, NeurIPS 2018 (MVAE), section 2.2.
    """

    layers: int = 2

    def __post_init__(self) -> None:
        """Refuse a network without a layer, as a `ValueError`."""
        require(self, {"layers": AT_LEAST_ONE})

    def stack(self, sizes: EncoderSizes, dropout: float) -> StackedEncoder:
        """Weights of the experts."""
        return _StackedExperts(sizes, self.layers, dropout)


@final
class _Expert(nn.Module):
    def __init__(
        self, sizes: EncoderSizes, inputs: int, layers: int, dropout: float, beside: int = 0
    ) -> None:
        super().__init__()
        members, hidden = sizes.members, sizes.hidden
        self.hidden = StackedMLP(
            members, inputs, hidden, layers, sizes.conditions, dropout, beside=beside
        )
        self.mean = StackedLinear(members, hidden, sizes.latent)
        self.log_variance = StackedLinear(members, hidden, sizes.latent)

    def given(
        self, inputs_mbi: Float[Tensor, "m b i"], shift_mbh: Float[Tensor, "m b h"]
    ) -> GivenBatch:
        first: Tensor = self.hidden.first.linear(inputs_mbi)
        return GaussianHead(self.hidden, self.mean, self.log_variance).after(first + shift_mbh)


@final
class _StackedExperts(StackedEncoder):
    """A modality that no cell of the data can have has no expert."""

    def __init__(self, sizes: EncoderSizes, layers: int, dropout: float) -> None:
        super().__init__(sizes)
        self.rna = SparseLinear(sizes.members, sizes.genes, sizes.hidden, beside=0)
        self.rna_expert = _Expert(sizes, 0, layers, dropout, beside=sizes.genes)
        self.protein_expert = self.receptor_expert = None
        if sizes.proteins:
            self.protein_expert = _Expert(sizes, sizes.proteins, layers, dropout)
        if sizes.receptor:  # and one input that says that no receptor was found
            self.receptor_expert = _Expert(sizes, sizes.receptor + 1, layers, dropout)
        # zero: what was never missing in training moves nothing when it is missing later
        self.missing = nn.Parameter(torch.zeros(sizes.members, sizes.proteins, sizes.hidden))

    def before_batch(self, batch: CellBatch, rna_n: Float[Tensor, " n"]) -> GivenBatch:
        """Every expert's first layer, and which of them know anything of a cell."""
        dtype = batch.y_mba.dtype
        no_inputs = batch.y_mba.new_zeros(*batch.weight_mb.shape, 0)
        there_mb1 = (batch.x_seen_mb & batch.x_mask_mg.any(-1, keepdim=True)).unsqueeze(-1)
        experts = [(self.rna_expert.given(no_inputs, self.rna(rna_n, batch.x)), there_mb1)]
        if self.protein_expert is not None:
            mask = batch.y_mask_mba.to(dtype)
            shift = torch.bmm(1 - mask, self.missing)
            inputs = log_depth_normalised(batch.y_mba, mask, self.protein_weight_m1a)
            given = self.protein_expert.given(inputs, shift)
            experts.append((given, batch.y_mask_mba.any(-1, keepdim=True)))
        if self.receptor_expert is not None:
            has = batch.r_mask_mb.to(dtype).unsqueeze(-1)
            inputs = torch.cat((batch.r_mbt * has, 1 - has), dim=-1)
            given = self.receptor_expert.given(inputs, torch.zeros_like(has))
            experts.append((given, batch.r_measured_mb.unsqueeze(-1)))

        def product(batch_mbe: Tensor, noise: Noise | None) -> Posterior:
            # the prior is an expert like the others: mean 0, precision 1
            precision: Tensor | float = 1.0
            weighted: Tensor | float = 0.0
            for given_batch, there in experts:
                mean, variance = given_batch(batch_mbe, noise)
                own = there / variance
                precision = precision + own
                weighted = weighted + own * mean
            precision = torch.as_tensor(precision)
            return Posterior(weighted / precision, precision.reciprocal())

        return product
