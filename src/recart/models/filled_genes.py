"""Genes that new data lack, filled in for the encoder as the decoder expects them."""

from __future__ import annotations

from dataclasses import replace

import torch

from recart.contracts import CellBatch, SparseRows
from recart.models.expected_logs import unmasked_profile
from recart.models.totalvi import TotalVIStack

__all__ = ["with_missing_genes"]


@torch.no_grad()
def with_missing_genes(stack: TotalVIStack, batch: CellBatch) -> CellBatch:
    """The minibatch with expected values of masked genes, at each cell's depth.

    They follow from a first look at the cell without them. A second look then sees a cell of the
    kind that the encoder knows. As it is where nothing is masked, or no gene is there; for
    evaluation, of a stack of one member.
    """
    there_mg = batch.x_mask_mg
    if bool(there_mg.all()) or not bool(there_mg.any()):
        return batch
    expected_mbg = unmasked_profile(stack, batch)
    if stack.recipe.rna.counts:
        seen_mb1 = (expected_mbg * there_mg.unsqueeze(1)).sum(-1, keepdim=True).clamp_min(1e-6)
        expected_mbg = expected_mbg * batch.x.row_sums(batch.x.value_n).unsqueeze(-1) / seen_mb1
    x_mbg = torch.where(there_mg.unsqueeze(1), batch.x.dense(), expected_mbg)
    filled = SparseRows.from_dense(x_mbg).to(x_mbg.device)
    return replace(batch, x=filled, x_mask_mg=torch.ones_like(there_mg))
