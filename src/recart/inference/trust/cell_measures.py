"""Cells under one member: latents, and how badly the member's decoder explains what was counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recart.data.batches import gather
from recart.data.features import BoundFeatures
from recart.data.store import CohortStore
from recart.models.filled_genes import with_missing_genes
from recart.training.member_file import LoadedMember

__all__ = ["CellMeasures", "measure_cells"]

Array = np.ndarray[Any, np.dtype[Any]]

_CHUNK = 1024
_LEAST_SHARE = 1e-3


@dataclass(frozen=True, kw_only=True)
class CellMeasures:
    """Cells of some slices, in order.

    Attributes
    ----------
    latents
        (c, l) posterior means.
    rna, protein
        (c) negative log likelihood of the counts at the mean of the latent, over genes that are
        there and proteins that were measured; NaN where there are none.
    rna_depth, protein_depth
        (c) log1p of the cell's sum over the same; of RNA, as if no gene were lacking.
    """

    latents: Array
    rna: Array
    protein: Array
    rna_depth: Array
    protein_depth: Array

    def rows(self, chosen: Array | slice) -> CellMeasures:
        """Some of the cells."""
        return CellMeasures(**{name: getattr(self, name)[chosen] for name in self.__annotations__})


@torch.no_grad()
def measure_cells(
    member: LoadedMember, bound: BoundFeatures, store: CohortStore, slices: Sequence[slice]
) -> CellMeasures:
    """Encode and decode the cells of `slices`; chunks never cross the end of a slice."""
    stack = member.stack.eval()
    device = stack.log_protein_theta.device
    parts: list[list[Array]] = []
    there = max(bound.depth_share, _LEAST_SHARE)
    for own in slices:
        for start in range(own.start, own.stop, _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, own.stop))
            batch = gather(store, [bound], [rows], width=len(rows)).to(device)
            posterior = stack.latent(with_missing_genes(stack, batch))
            terms = stack.terms_at_mean(batch, posterior)
            genes = batch.x_mask_mg[0].sum()
            proteins = batch.y_mask_mba[0].sum(-1)
            found = (
                posterior.mean_mbl[0],
                terms["rna"][0] / genes,  # 0 / 0 is NaN
                terms["protein"][0] / proteins,
                torch.log1p(batch.x.row_sums(batch.x.value_n)[0] / there),
                torch.log1p((batch.y_mba * batch.y_mask_mba)[0].sum(-1)),
            )
            parts.append([own.cpu().numpy() for own in found])
    if not parts:
        parts = [[np.zeros((0, stack.recipe.latent)), *np.zeros((4, 0))]]
    latents, *costs = (np.concatenate(column) for column in zip(*parts, strict=True))
    rna, protein, rna_depth, protein_depth = (own.astype(np.float64) for own in costs)
    return CellMeasures(
        latents=latents,
        rna=rna,
        protein=protein,
        rna_depth=rna_depth,
        protein_depth=protein_depth,
    )
