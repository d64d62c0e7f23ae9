"""T cell receptors: the embedding is reconstructed up to its length, and whether there is one."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity

from recart.contracts import CellBatch
from recart.models.decoder import Decoded

__all__ = ["receptor_terms"]


def receptor_terms(
    decoded: Decoded, batch: CellBatch, clone_level: bool = False
) -> dict[str, Float[Tensor, "m b"]]:
    """Cosine distance where a cell has a receptor; cross-entropy of having one where it was read.

    With `clone_level` the distance counts once a clone of a sample (`batch.r_weight_mb`). All
    zero where the data have no receptors.
    """
    if batch.r_mbt.shape[-1] == 0:
        zero = batch.weight_mb.new_zeros(batch.weight_mb.shape)
        return {"receptor": zero, "presence": zero}
    weight_mb = batch.r_weight_mb if clone_level else 1.0
    cosine: Tensor = cosine_similarity(decoded.receptor_mbt, batch.r_mbt, dim=-1)
    presence = binary_cross_entropy_with_logits(
        decoded.receptor_presence_mb, batch.r_mask_mb.to(cosine.dtype), reduction="none"
    )
    return {
        "receptor": torch.where(batch.r_mask_mb, weight_mb * (1 - cosine), 0.0),
        "presence": torch.where(batch.r_measured_mb, presence, 0.0),
    }
