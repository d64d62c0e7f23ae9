"""Inverse dispersion of counts, a parameter of every member."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recart.models.noise import member_generator
from recart.models.rna_likelihood import RnaSizes

__all__ = ["Dispersion"]

_STREAM = -1000  # away from the streams of the linear layers


@final
class Dispersion(nn.Module):
    """Inverse dispersion per gene, or per gene and batch category."""

    def __init__(self, sizes: RnaSizes, per_batch: bool) -> None:
        super().__init__()
        rows = sizes.conditions if per_batch else 1
        self.per_batch = per_batch
        self.log_theta = nn.Parameter(torch.zeros(sizes.members, rows, sizes.genes))

    @torch.no_grad()
    def draw(self, seeds: Sequence[int]) -> None:
        """Standard normal logarithms, as scvi-tools."""
        for seed, own in zip(seeds, self.log_theta, strict=True):
            for row in own:  # the same start for every batch, however many there are
                generator = member_generator(seed, _STREAM)
                row.copy_(torch.randn(row.shape, generator=generator))

    def design(self, batch_mbe: Float[Tensor, "m b e"]) -> Float[Tensor, "m b k"]:
        """How a cell's log inverse dispersion is made of the rows of `log_theta`."""
        return batch_mbe if self.per_batch else batch_mbe.new_ones(*batch_mbe.shape[:2], 1)

    def theta(self, batch_mbe: Float[Tensor, "m b e"]) -> Float[Tensor, " m #b g"]:
        """Inverse dispersion: one row for all cells, or a row per cell with its batch's."""
        if not self.per_batch:
            return torch.exp(self.log_theta)
        return torch.exp(torch.bmm(batch_mbe, self.log_theta))
