"""Draws from the posterior predictive: the counts that the model expects of the same cells."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from recart.contracts import CellBatch
from recart.inference.outputs.decoding import draw_batches, draw_latent, protein_rates
from recart.inference.outputs.draws import draw_background, normal
from recart.losses.negative_binomial import sample_nb
from recart.models.totalvi import TotalVIStack

__all__ = ["predictive_samples"]


def predictive_samples(
    stack: TotalVIStack, batch: CellBatch, n_samples: int, generator: torch.Generator
) -> Iterator[tuple[Float[Tensor, "m b g"], Float[Tensor, "m b a"]]]:
    """RNA and protein of every draw, one draw at a time.

    Each draws `z`, the batch where it is unknown, the protein background, its component, and
    counts, all as the likelihood has them: at the cell's observed library size, and with the
    batch's capture efficiency.
    """
    posterior = stack.latent(batch)
    for _ in range(n_samples):
        z_mbl = draw_latent(stack, posterior, generator)
        batch_mbe = draw_batches(stack, batch, generator)
        decoded = stack.decoder(z_mbl, batch_mbe, None)
        rna = stack.rna.sample(decoded, batch_mbe, batch, generator)
        rates = protein_rates(stack, decoded, normal(decoded.mixing_mba, generator), batch_mbe)
        background = draw_background(rates.is_background_mba, generator) > 0
        protein = sample_nb(
            torch.where(background, rates.background_mba, rates.foreground_mba),
            stack.log_protein_theta.exp(),
            generator,
        )
        yield rna, protein.to(rna.device)
