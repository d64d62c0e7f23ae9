"""One chunk of cells of one member, decoded: RNA profile, protein rates and mixture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recart.contracts import CellBatch
from recart.inference.outputs.draws import normal
from recart.models.cell_encoder import Posterior
from recart.models.decoder import Decoded
from recart.models.totalvi import TotalVIStack

__all__ = ["ProteinRates", "decoding_batches", "draw_batches", "draw_latent", "protein_rates"]

Weighted = list[tuple[Tensor | float, Tensor]]


@dataclass(frozen=True, kw_only=True)
class ProteinRates:
    """Rates of a protein's background and foreground, and the probability of background."""

    background_mba: Float[Tensor, "m b a"]
    foreground_mba: Float[Tensor, "m b a"]
    is_background_mba: Float[Tensor, "m b a"]


def protein_rates(
    stack: TotalVIStack,
    decoded: Decoded,
    normal_mba: Float[Tensor, "m b a"] | None,
    batch_mbe: Float[Tensor, "m b e"] | None,
) -> ProteinRates:
    """Rates of every protein.

    Parameters
    ----------
    stack
        The member.
    decoded
        Its cells.
    normal_mba
        Standard normal numbers that draw the log background; None takes the expected background,
        `exp(mean + scale ** 2 / 2)`.
    batch_mbe
        Batches whose capture efficiency scales the rates, as in the likelihood; None leaves it
        out, as scvi-tools' denoised proteins do.
    """
    mean, scale = decoded.background_mean_mba, decoded.background_scale_mba
    log_background = mean + (scale.square() / 2 if normal_mba is None else scale * normal_mba)
    if batch_mbe is None:
        background = torch.exp(log_background)
        foreground = background * decoded.foreground_mba
    else:
        background, foreground = stack.protein_rates(decoded, log_background, batch_mbe)
    return ProteinRates(
        background_mba=background,
        foreground_mba=foreground,
        is_background_mba=torch.sigmoid(decoded.mixing_mba),
    )


def draw_latent(
    stack: TotalVIStack, posterior: Posterior, generator: torch.Generator
) -> Float[Tensor, "m b l"]:
    """A draw of `z`; dimensions that the member does not use stay 0, as in training."""
    mean_mbl, variance_mbl = posterior
    used = stack.latent_mask_ml.unsqueeze(1)
    return mean_mbl + normal(mean_mbl, generator) * variance_mbl.sqrt() * used


def _one_hot(batch: CellBatch, e: int) -> Tensor:
    one_hot = torch.zeros_like(batch.batch_mbe)
    one_hot[..., e] = 1.0
    return one_hot


def _unknown(batch: CellBatch) -> Tensor:
    return batch.batch_mbe.sum(-1, keepdim=True) == 0


def decoding_batches(
    stack: TotalVIStack, batch: CellBatch, transform: Sequence[int] | None
) -> Weighted:
    """Batch covariates under which cells are decoded, each with its weight; weights sum to 1.

    With `transform`, every cell is decoded under each of these categories. Without, it is decoded
    under its own batch; a cell whose batch the member does not know under every batch, weighed by
    the batch's share of the training cells, as its latent is.
    """
    if transform is not None:
        return [(1 / len(transform), _one_hot(batch, e)) for e in transform]
    unknown = _unknown(batch)
    if not bool(unknown.any()):
        return [(1.0, batch.batch_mbe)]
    shares = stack.batch_prior_me[0]
    return [
        (shares[e], torch.where(unknown, _one_hot(batch, e), batch.batch_mbe))
        for e in range(len(shares))
        if shares[e] > 0
    ]


def draw_batches(
    stack: TotalVIStack, batch: CellBatch, generator: torch.Generator
) -> Float[Tensor, "m b e"]:
    """Each cell's batch; one drawn by its share of the training cells where it is unknown."""
    unknown = _unknown(batch)
    if not bool(unknown.any()):
        return batch.batch_mbe
    cells = batch.batch_mbe.shape[1]
    shares = stack.batch_prior_me[0].cpu()
    drawn = torch.multinomial(shares, cells, replacement=True, generator=generator)
    one_hot = torch.nn.functional.one_hot(drawn, len(shares)).to(batch.batch_mbe)
    return torch.where(unknown, one_hot, batch.batch_mbe)
