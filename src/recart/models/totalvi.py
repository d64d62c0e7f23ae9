"""totalVI's model of RNA and surface protein, extended to receptors and to a stack of members.

Source: Gayoso et al., Nature Methods 2021 (totalVI), in the form of scvi-tools' `TOTALVAE` with
observed library size and LayerNorm in place of BatchNorm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recart.contracts import CellBatch
from recart.losses.divergences import kl_normal, kl_standard_normal, log_standard_lognormal
from recart.losses.negative_binomial import log_nb_mixture
from recart.models.decoder import Decoded, Decoder
from recart.models.encoder import Encoder, Posterior
from recart.models.noise import Noise, member_generator
from recart.models.rna import NegativeBinomial
from recart.models.rna_likelihood import RnaLikelihood, RnaSizes
from recart.models.stacked import initialise

__all__ = ["Sizes", "TermWeights", "TotalVI", "TotalVIStack"]

_PROTEIN_STREAM = -2000  # away from the streams of layers and of the RNA dispersion
_EXPRESSED_PRIOR = 1e-3  # scvi-tools' weak pull towards expressed proteins


@dataclass(frozen=True)
class TermWeights:
    """Weights of the terms of the objective; the KL weight is warmed up by the training."""

    protein: float = 1.0
    receptor: float = 1.0
    presence: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of the data, as the store and the members' features give them.

    `batches[m]` is how many batch categories member `m` knows.
    """

    genes: int
    proteins: int
    receptor: int
    batches: tuple[int, ...]


@final
@dataclass(frozen=True)
class TotalVI:
    """Recipe of the encoder-decoder: everything but the data's sizes and the seeds."""

    latent: int = 10
    hidden: int = 128
    encoder_layers: int = 2
    decoder_layers: int = 1
    dropout: float = 0.2
    modality_dropout: float = 0.1
    rna: RnaLikelihood = field(default_factory=NegativeBinomial)
    weights: TermWeights = field(default_factory=TermWeights)

    def stack(self, sizes: Sizes, seeds: Sequence[int]) -> TotalVIStack:
        """Models for `len(seeds)` members, each drawn from its own seed."""
        stack = TotalVIStack(self, sizes, len(seeds))
        initialise(stack, seeds, sizes.batches)
        stack.rna.draw_dispersion(seeds)
        with torch.no_grad():
            for seed, row in zip(seeds, stack.log_protein_theta, strict=True):
                row.copy_(
                    2 * torch.rand(row.shape, generator=member_generator(seed, _PROTEIN_STREAM))
                )
        return stack


@final
class TotalVIStack(nn.Module):
    """The weights of a stack of members."""

    def __init__(self, recipe: TotalVI, sizes: Sizes, members: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.sizes = sizes
        e = max(sizes.batches, default=0)
        latent, hidden = recipe.latent, recipe.hidden
        self.encoder = Encoder(
            members,
            (sizes.genes, sizes.proteins, sizes.receptor),
            latent,
            hidden,
            recipe.encoder_layers,
            e,
            recipe.dropout,
        )
        self.decoder = Decoder(
            members,
            (sizes.proteins, sizes.receptor),
            latent,
            hidden,
            recipe.decoder_layers,
            e,
            recipe.dropout,
        )
        self.rna = recipe.rna.stack(RnaSizes(members, hidden + latent, sizes.genes, e))
        shape = (members, e, sizes.proteins)
        self.log_protein_theta = nn.Parameter(torch.zeros(members, 1, sizes.proteins))
        self.log_efficiency = nn.Parameter(torch.zeros(shape))
        self.background_prior_mean = nn.Parameter(torch.zeros(shape))
        self.background_prior_log_scale = nn.Parameter(torch.zeros(shape))
        # weights of the batch categories where a cell's batch is unknown to the member
        self.register_buffer("batch_prior_me", torch.zeros(members, e))
        self.batch_prior_me: Tensor

    @torch.no_grad()
    def set_background_prior(
        self, member: int, mean_ea: Float[Tensor, "e a"], scale_ea: Float[Tensor, "e a"]
    ) -> None:
        """Start one member's protein background prior (log scale) from its training cells."""
        own = mean_ea.shape[0]
        self.background_prior_mean[member, :own] = mean_ea
        self.background_prior_log_scale[member, :own] = scale_ea.log()

    @torch.no_grad()
    def set_batch_prior(self, member: int, share_e: Float[Tensor, " e"]) -> None:
        """Share of each batch category of one member (sums to 1)."""
        self.batch_prior_me[member, : len(share_e)] = share_e

    def member_state(self, member: int) -> dict[str, Tensor]:
        """A copy of one member's weights on the CPU: member axis of length 1, own batches only."""
        own = self.sizes.batches[member]
        with torch.device("meta"):  # shapes only
            alone = TotalVIStack(self.recipe, replace(self.sizes, batches=(own,)), 1).state_dict()
        state = {}
        for name, tensor in self.state_dict().items():
            kept = tensor[member : member + 1]
            if kept.shape != alone[name].shape:  # the axis of batch categories is the second
                kept = kept[:, :own]
            state[name] = kept.detach().cpu().clone()
        return state

    def latent(self, batch: CellBatch) -> Posterior:
        """`q(z | cell)` without dropout; unknown batches are marginalised."""
        return self.encoder.marginal(batch, self.rna.encode(batch), self.batch_prior_me)

    def known_batch(self, batch: CellBatch) -> Float[Tensor, "m b e"]:
        """The batch covariate for decoding: unknown batches become the mean over batches."""
        unknown = batch.batch_mbe.sum(-1, keepdim=True) == 0
        return torch.where(unknown, self.batch_prior_me.unsqueeze(1), batch.batch_mbe)

    def protein_rates(
        self, decoded: Decoded, log_background_mba: Tensor, batch_mbe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Background and foreground rates of every protein, scaled by the batch's efficiency."""
        background = torch.exp(log_background_mba + torch.bmm(batch_mbe, self.log_efficiency))
        return background, background * decoded.foreground_mba

    def expected(self, batch: CellBatch) -> tuple[Float[Tensor, "m b g"], Float[Tensor, "m b a"]]:
        """Expected RNA and protein counts of each cell at the mean of `q(z | cell)`.

        Proteins that were not measured are imputed from what was: their expectation follows from
        `z` alone. Background counts are part of it.
        """
        z_mbl, batch_mbe = self.latent(batch).mean_mbl, self.known_batch(batch)
        decoded = self.decoder(z_mbl, batch_mbe, None)
        background, foreground = self.protein_rates(decoded, decoded.background_mean_mba, batch_mbe)
        is_background = torch.sigmoid(decoded.mixing_mba)
        protein = is_background * background + (1 - is_background) * foreground
        return self.rna.mean(decoded, batch_mbe, batch), protein

    def terms(self, batch: CellBatch, noise: Noise | None) -> dict[str, Float[Tensor, "m b"]]:
        """Each term of the negative evidence lower bound per cell, before weights.

        `noise` draws `z`, the protein background, dropout and modality dropout; None takes means.
        """
        if noise is None:  # as the latents that heads read: unknown batches are marginalised
            posterior = self.latent(batch)
            z_mbl = posterior.mean_mbl
        else:
            seen = self._drop_modalities(batch, noise)
            posterior = self.encoder(seen, self.rna.encode(seen), noise)
            z_mbl = posterior.mean_mbl + noise.normal(posterior.mean_mbl) * (
                posterior.variance_mbl.sqrt()
            )
        batch_mbe = self.known_batch(batch)
        decoded = self.decoder(z_mbl, batch_mbe, noise)
        return {
            "rna": -self.rna.log_prob(decoded, batch_mbe, batch),
            "kl_z": kl_standard_normal(*posterior).sum(-1),
            **self._protein_terms(decoded, batch, batch_mbe, noise),
            **self._receptor_terms(decoded, batch),
        }

    def loss(
        self, terms: dict[str, Float[Tensor, "m b"]], weight_mb: Tensor, kl_weight: float
    ) -> Float[Tensor, " m"]:
        """Weighted objective of each member: mean over its cells.

        As in scvi-tools, the warm-up of the KL weight also scales the protein term.
        """
        weights = self.recipe.weights
        warmed = weights.protein * terms["protein"] + terms["kl_z"] + terms["kl_background"]
        total = (
            terms["rna"]
            + kl_weight * warmed
            + weights.receptor * terms["receptor"]
            + weights.presence * terms["presence"]
        )
        return (total * weight_mb).sum(-1) / weight_mb.sum(-1).clamp_min(1.0)

    def _protein_terms(
        self, decoded: Decoded, batch: CellBatch, batch_mbe: Tensor, noise: Noise | None
    ) -> dict[str, Tensor]:
        if batch.y_mba.shape[-1] == 0:
            zero = batch.weight_mb.new_zeros(batch.weight_mb.shape)
            return {"protein": zero, "kl_background": zero}
        mean, scale = decoded.background_mean_mba, decoded.background_scale_mba
        log_background = mean if noise is None else mean + noise.normal(mean) * scale
        background, foreground = self.protein_rates(decoded, log_background, batch_mbe)
        log_prob = log_nb_mixture(
            batch.y_mba, background, foreground, self.log_protein_theta.exp(), decoded.mixing_mba
        )
        prior_mean = torch.bmm(batch_mbe, self.background_prior_mean)
        prior_scale = torch.bmm(batch_mbe, self.background_prior_log_scale.exp())
        kl = kl_normal(mean, scale, prior_mean, prior_scale.clamp_min(1e-6))
        log_efficiency = torch.bmm(batch_mbe, self.log_efficiency)
        expressed = nn.functional.logsigmoid(decoded.mixing_mba)
        return {
            "protein": -torch.where(batch.y_mask_mba, log_prob, 0.0).sum(-1),
            "kl_background": torch.where(batch.y_mask_mba, kl, 0.0).sum(-1)
            - log_standard_lognormal(log_efficiency).sum(-1)
            - _EXPRESSED_PRIOR * expressed.sum(-1),
        }

    def _receptor_terms(self, decoded: Decoded, batch: CellBatch) -> dict[str, Tensor]:
        if batch.r_mbt.shape[-1] == 0:
            zero = batch.weight_mb.new_zeros(batch.weight_mb.shape)
            return {"receptor": zero, "presence": zero}
        cosine = nn.functional.cosine_similarity(decoded.receptor_mbt, batch.r_mbt, dim=-1)
        presence = nn.functional.binary_cross_entropy_with_logits(
            decoded.receptor_presence_mb, batch.r_mask_mb.to(cosine.dtype), reduction="none"
        )
        return {
            "receptor": torch.where(batch.r_mask_mb, 1 - cosine, 0.0),
            "presence": torch.where(batch.r_measured_mb, presence, 0.0),
        }

    def _drop_modalities(self, batch: CellBatch, noise: Noise) -> CellBatch:
        """Hide protein and receptor from the encoder, each in a share of the cells."""
        rate = self.recipe.modality_dropout
        if rate <= 0:
            return batch
        keep = noise.keep(batch.weight_mb.unsqueeze(-1).expand(-1, -1, 2), rate) > 0
        keep_protein, keep_receptor = keep[..., :1], keep[..., 1]
        return replace(
            batch,
            y_mask_mba=batch.y_mask_mba & keep_protein,
            r_mask_mb=batch.r_mask_mb & keep_receptor,
            r_measured_mb=batch.r_measured_mb & keep_receptor,
        )
