"""Denoised RNA and protein of a chunk of cells, as scvi-tools' `get_normalized_expression`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from recart.contracts import CellBatch
from recart.inference.outputs.decoding import (
    ProteinRates,
    decoding_batches,
    draw_latent,
    protein_rates,
)
from recart.inference.outputs.draws import draw_background, normal
from recart.models.totalvi import TotalVIStack

__all__ = ["Expression", "LibrarySize", "foreground_probability", "normalised_expression"]

LibrarySize = float | Literal["latent"]


@dataclass(frozen=True, kw_only=True)
class Expression:
    """What is asked of normalised expression.

    Attributes
    ----------
    transform_batch
        Batches to decode every cell under, averaged; None: the cell's own batch.
    n_samples
        How many draws of the latent and the protein background; None decodes their means.
    library_size
        What the RNA frequencies are multiplied with; "latent": each cell's library, which is the
        observed one. Normalised values have none: nothing is multiplied.
    include_protein_background, scale_protein, sample_protein_mixing
        Whether to add the background's share, to make a cell's proteins sum to 1, and to draw
        which component a protein shows instead of weighing both.
    efficiency
        Whether protein rates hold the capture efficiency of the batch, as raw counts do.
    """

    transform_batch: tuple[str, ...] | None = None
    n_samples: int | None = None
    library_size: LibrarySize = 1.0
    include_protein_background: bool = False
    scale_protein: bool = False
    sample_protein_mixing: bool = False
    efficiency: bool = False


def normalised_expression(
    stack: TotalVIStack,
    batch: CellBatch,
    asked: Expression,
    categories: Sequence[int] | None,
    generator: torch.Generator,
) -> Iterator[tuple[Float[Tensor, "m b g"], Float[Tensor, "m b a"]]]:
    """RNA and protein of every draw, one draw at a time.

    `categories` are the member's numbers of `asked.transform_batch`.
    """
    posterior = stack.latent(batch)
    covariates = decoding_batches(stack, batch, categories)
    for _ in range(asked.n_samples or 1):
        z_mbl = posterior.mean_mbl
        if asked.n_samples is not None:
            z_mbl = draw_latent(stack, posterior, generator)
        parts = []
        for weight, batch_mbe in covariates:
            decoded = stack.decoder(z_mbl, batch_mbe, None)
            draw = None if asked.n_samples is None else normal(decoded.mixing_mba, generator)
            rates = protein_rates(stack, decoded, draw, batch_mbe if asked.efficiency else None)
            if asked.library_size == "latent":
                rna = stack.rna.mean(decoded, batch_mbe, batch)
            else:
                rna = stack.rna.profile(decoded, batch_mbe, batch)
                if stack.recipe.rna.counts:
                    rna = rna * asked.library_size
            parts.append((weight * rna, weight * _protein(rates, asked, generator)))
        yield sum(rna for rna, _ in parts), sum(protein for _, protein in parts)  # type: ignore[misc]


def _protein(rates: ProteinRates, asked: Expression, generator: torch.Generator) -> Tensor:
    is_background = rates.is_background_mba
    if asked.sample_protein_mixing:
        is_background = draw_background(is_background, generator)
    protein = rates.foreground_mba * (1 - is_background)
    if asked.include_protein_background:
        protein = protein + rates.background_mba * is_background
    return normalize(protein, p=1, dim=-1) if asked.scale_protein else protein


def foreground_probability(
    stack: TotalVIStack,
    batch: CellBatch,
    asked: Expression,
    categories: Sequence[int] | None,
    generator: torch.Generator,
) -> Iterator[Float[Tensor, "m b a"]]:
    """Probability that each protein's counts are foreground, one draw at a time."""
    posterior = stack.latent(batch)
    covariates = decoding_batches(stack, batch, categories)
    for _ in range(asked.n_samples or 1):
        z_mbl = posterior.mean_mbl
        if asked.n_samples is not None:
            z_mbl = draw_latent(stack, posterior, generator)
        probability = torch.zeros_like(batch.y_mba)
        for weight, batch_mbe in covariates:
            mixing = stack.decoder(z_mbl, batch_mbe, None).mixing_mba
            probability = probability + weight * torch.sigmoid(-mixing)
        yield probability
