"""Logarithms of counts as a decoder expects them, of features that were not measured too."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from recart.contracts import CellBatch
from recart.models.decoder import Decoded
from recart.models.totalvi import TotalVIStack

__all__ = ["expected_log_count", "expected_log_protein", "unmasked_profile"]

_COUNTS: Final = 12  # that are summed one by one


def expected_log_protein(stack: TotalVIStack, batch: CellBatch) -> Float[Tensor, "m b a"]:
    """Mean over background and foreground of `log(1 + rate)` of every protein.

    At the mean of `q(z | cell)`; the spread of counts about their rates is left out.
    """
    decoded, batch_mbe = _decoded(stack, batch)
    background, foreground = stack.protein_rates(decoded, decoded.background_mean_mba, batch_mbe)
    is_background = torch.sigmoid(decoded.mixing_mba)
    return is_background * torch.log1p(background) + (1 - is_background) * torch.log1p(foreground)


def unmasked_profile(stack: TotalVIStack, batch: CellBatch) -> Float[Tensor, "m b g"]:
    """Expected value of every gene at the mean of `q(z | cell)`, of masked genes too."""
    decoded, batch_mbe = _decoded(stack, batch)
    own_m1 = torch.as_tensor(stack.sizes.own_genes, device=batch.x_mask_mg.device).unsqueeze(-1)
    everything = torch.arange(batch.x_mask_mg.shape[1], device=own_m1.device) < own_m1
    return stack.rna.profile(decoded, batch_mbe, replace(batch, x_mask_mg=everything))


def expected_log_count(
    stack: TotalVIStack,
    batch: CellBatch,
    gene_n: Int[Tensor, " n"],
    unit_b1: Float[Tensor, "b 1"],
) -> Float[Tensor, "b n"]:
    """Expected `log(1 + unit * count)` of some genes of the first member, of masked ones too.

    Counts are Poisson at the cell's depth, as the genes tell it that are there.
    """
    profile_bg = unmasked_profile(stack, batch)[0]
    there_b1 = (profile_bg * batch.x_mask_mg[0]).sum(-1, keepdim=True).clamp_min(1e-6)
    depth_b1 = batch.x.row_sums(batch.x.value_n)[0].unsqueeze(-1) / there_b1
    rate_bn = profile_bg[:, gene_n] * depth_b1
    expected_bn, rest_bn = torch.zeros_like(rate_bn), torch.ones_like(rate_bn)
    share_bn = torch.exp(-rate_bn)
    for count in range(_COUNTS):
        expected_bn = expected_bn + share_bn * torch.log1p(unit_b1 * count)
        rest_bn = rest_bn - share_bn
        share_bn = share_bn * rate_bn / (count + 1)
    above_bn = torch.log1p(unit_b1 * rate_bn.clamp_min(_COUNTS))
    return expected_bn + rest_bn.clamp_min(0.0) * above_bn


def _decoded(stack: TotalVIStack, batch: CellBatch) -> tuple[Decoded, Tensor]:
    z_mbl, batch_mbe = stack.latent(batch).mean_mbl, stack.known_batch(batch)
    return stack.decoder(z_mbl, batch_mbe, None), batch_mbe
