"""What the encoder does not get to see in training, so that it can do without it later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import final

import torch
from torch import Tensor

from recart.contracts import CellBatch
from recart.models.noise import Noise
from recart.ranges import SHARE, require

__all__ = ["Masking"]


@final
@dataclass(frozen=True)
class Masking:
    """Shares that are hidden from the encoder; the decoder still has to explain them.

    Protein and receptor are each hidden in a share `modality` of the cells. `rna` is the share of
    cells whose RNA is hidden, among those that still show a protein or a receptor. `proteins` is
    the share of single proteins hidden in each cell.

    `genes` and `panel` are for what another laboratory does not measure: every member draws for
    each minibatch a share between 0 and `genes` of its genes, and one between 0 and `panel` of its
    proteins, and hides them from all cells of it. The depth of a cell is then that of the others.
    """

    modality: float = 0.1
    proteins: float = 0.0
    genes: float = 0.0
    rna: float = 0.0
    panel: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no share, as a `ValueError`."""
        require(self, {own.name: SHARE for own in fields(self)})

    def hide(self, batch: CellBatch, genes_m: Sequence[int], noise: Noise) -> CellBatch:
        """The batch as the encoder sees it; `genes_m` is how many genes each member has."""
        batch = self._hide_modalities(batch, noise)
        if self.proteins > 0 and batch.y_mba.shape[-1]:
            keep = noise.keep(batch.y_mba, self.proteins) > 0
            batch = replace(batch, y_mask_mba=batch.y_mask_mba & keep)
        if self.rna > 0:
            keep = noise.keep(batch.weight_mb.unsqueeze(-1), self.rna)[..., 0] > 0
            rest = batch.y_mask_mba.any(-1) | batch.r_mask_mb
            batch = _without_rna(batch, keep | ~rest)
        if self.genes > 0 and batch.x_mask_mg.shape[1]:
            like_mg = batch.weight_mb.new_empty(batch.x_mask_mg.shape)
            batch = _without_genes(batch, _kept(like_mg, self.genes, noise, genes_m))
        if self.panel > 0 and batch.y_mba.shape[-1]:
            keep_ma = _kept(batch.y_mba[:, 0], self.panel, noise)
            batch = replace(batch, y_mask_mba=batch.y_mask_mba & keep_ma.unsqueeze(1))
        return batch

    def _hide_modalities(self, batch: CellBatch, noise: Noise) -> CellBatch:
        if self.modality <= 0:
            return batch
        keep = noise.keep(batch.weight_mb.unsqueeze(-1).expand(-1, -1, 2), self.modality) > 0
        keep_protein, keep_receptor = keep[..., :1], keep[..., 1]
        if not batch.x_mask_mg.shape[1]:  # of a cohort without genes nothing would be left
            keep_protein = torch.ones_like(keep_protein)
        return replace(
            batch,
            y_mask_mba=batch.y_mask_mba & keep_protein,
            r_mask_mb=batch.r_mask_mb & keep_receptor,
            r_measured_mb=batch.r_measured_mb & keep_receptor,
        )


def _kept(
    like_mf: Tensor, most: float, noise: Noise, lengths_m: Sequence[int] | None = None
) -> Tensor:
    """(m, f) features that stay, of which each member hides a share between 0 and `most`."""
    share_m1 = most * noise.uniform(like_mf[:, :1])
    return noise.uniform(like_mf, lengths_m) >= share_m1


def _without_rna(batch: CellBatch, keep_mb: Tensor) -> CellBatch:
    x = batch.x
    shown_n = torch.where(keep_mb.view(-1)[x.row_n], x.value_n, 0.0)
    return replace(batch, x=replace(x, value_n=shown_n), x_seen_mb=batch.x_seen_mb & keep_mb)


def _without_genes(batch: CellBatch, keep_mg: Tensor) -> CellBatch:
    x = batch.x
    # zeros where the hidden counts stood: nothing has to be sorted again
    shown_n = torch.where(keep_mg.view(-1)[x.column_n], x.value_n, 0.0)
    return replace(batch, x=replace(x, value_n=shown_n), x_mask_mg=batch.x_mask_mg & keep_mg)
