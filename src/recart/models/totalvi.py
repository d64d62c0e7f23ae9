"""totalVI's model of RNA and surface protein, extended to receptors and to a stack of members.

Source: Gayoso et al., Nature Methods 2021 (totalVI), in the form of scvi-tools' `TOTALVAE` with
observed library size and LayerNorm in place of BatchNorm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recart.contracts import CellBatch, MemberSettings
from recart.losses.divergences import kl_standard_normal
from recart.models.cell_encoder import CellEncoder, EncoderSizes, Posterior
from recart.models.decoder import Decoded, Decoder
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.noise import Noise, member_generator
from recart.models.objective import TermWeights
from recart.models.protein import ProteinWeights
from recart.models.receptor import receptor_terms
from recart.models.restack import keep_members, shapes_of, take_member, write_member
from recart.models.rna import NegativeBinomial
from recart.models.rna_likelihood import RnaLikelihood, RnaSizes
from recart.models.sizes import Sizes
from recart.models.stacked import StackedBlock, initialise
from recart.ranges import AT_LEAST_ONE, SHARE, require

__all__ = ["Sizes", "TermWeights", "TotalVI", "TotalVIStack"]

_PROTEIN_STREAM = -2000  # away from the streams of layers and of the RNA dispersion


@final
@dataclass(frozen=True)
class TotalVI:
    """Recipe of the encoder-decoder: everything but the data's sizes and the seeds."""

    latent: int = 10
    hidden: int = 128
    encoder: CellEncoder = field(default_factory=JointEncoder)
    decoder_layers: int = 1
    dropout: float = 0.2
    masking: Masking = field(default_factory=Masking)
    rna: RnaLikelihood = field(default_factory=NegativeBinomial)
    weights: TermWeights = field(default_factory=TermWeights)

    def __post_init__(self) -> None:
        """Refuse sizes of which there is no network, as a `ValueError`."""
        sizes = dict.fromkeys(("latent", "hidden", "decoder_layers"), AT_LEAST_ONE)
        require(self, {**sizes, "dropout": SHARE})

    def stack(
        self,
        sizes: Sizes,
        seeds: Sequence[int],
        settings: Sequence[MemberSettings] | None = None,
    ) -> TotalVIStack:
        """Models for `len(seeds)` members, each drawn from its own seed as it would be alone.

        Raises
        ------
        ValueError
            If a member's settings ask for more latent dimensions than the recipe has.
        """
        stack = TotalVIStack(self, sizes, len(seeds))
        for member, seed in enumerate(seeds):
            own = sizes.of([member])
            alone = TotalVIStack(self, own, 1)
            initialise(alone, [seed], own.batches)
            alone.rna.draw_dispersion([seed])
            generator = member_generator(seed, _PROTEIN_STREAM)
            theta = 2 * torch.rand(alone.log_protein_theta.shape[1:], generator=generator)
            alone.log_protein_theta.data[0] = theta
            write_member(stack, member, alone.state_dict())
        for member, own_settings in enumerate(settings or ()):
            stack.set_settings(member, own_settings)
        return stack


@final
class TotalVIStack(nn.Module):
    """The weights of a stack of members.

    Members of fewer genes or batch categories than the widest have zeros there, which masks keep
    out of every product. `latent_mask_ml` says which dimensions of `z` a member uses.
    """

    def __init__(self, recipe: TotalVI, sizes: Sizes, members: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.sizes = sizes
        e = max(sizes.batches, default=0)
        latent, hidden, dropout = recipe.latent, recipe.hidden, recipe.dropout
        encoder_sizes = EncoderSizes(
            members=members,
            genes=sizes.genes,
            proteins=sizes.proteins,
            receptor=sizes.receptor,
            hidden=hidden,
            latent=latent,
            conditions=e,
        )
        self.encoder = recipe.encoder.stack(encoder_sizes, dropout)
        panels, layers = (sizes.proteins, sizes.receptor), recipe.decoder_layers
        self.decoder = Decoder(members, panels, latent, hidden, layers, e, dropout)
        self.rna = recipe.rna.stack(RnaSizes(members, hidden + latent, sizes.genes, e))
        shape = (members, e, sizes.proteins)
        self.log_protein_theta = nn.Parameter(torch.zeros(members, 1, sizes.proteins))
        self.log_efficiency = nn.Parameter(torch.zeros(shape))
        self.background_prior_mean = nn.Parameter(torch.zeros(shape))
        self.background_prior_log_scale = nn.Parameter(torch.zeros(shape))
        # weights of the batch categories where a cell's batch is unknown to the member
        self.register_buffer("batch_prior_me", torch.zeros(members, e))
        self.batch_prior_me: Tensor
        self.register_buffer("latent_mask_ml", torch.ones(members, latent, dtype=torch.bool))
        self.latent_mask_ml: Tensor
        # of training only: not part of a member's state
        kl_weight_m = torch.full((members,), float(recipe.weights.kl))
        self.register_buffer("kl_weight_m", kl_weight_m, persistent=False)
        self.kl_weight_m: Tensor

    @torch.no_grad()
    def set_settings(self, member: int, settings: MemberSettings) -> None:
        """Give one member its own KL weight, dropout and number of latent dimensions.

        Raises
        ------
        ValueError
            If it asks for more latent dimensions than the recipe has.
        """
        if settings.latent is not None:
            if settings.latent > self.recipe.latent:
                raise ValueError(
                    f"a member asks for {settings.latent} latent dimensions; the model has "
                    f"{self.recipe.latent}, raise model.latent"
                )
            self.latent_mask_ml[member] = torch.arange(self.recipe.latent) < settings.latent
        if settings.kl_weight is not None:
            self.kl_weight_m[member] = settings.kl_weight
        if settings.dropout is not None:
            for block in self._blocks():
                block.dropout_m[member] = settings.dropout

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

    @torch.no_grad()
    def set_levels(
        self, member: int, gene_g: Float[Tensor, " g"], protein_a: Float[Tensor, " a"]
    ) -> None:
        """How much each of one member's features counts for the depth of a cell; 1 on average."""
        self.rna.set_gene_weight(member, gene_g)
        self.encoder.protein_weight_m1a[member, 0] = protein_a

    def member_state(self, member: int) -> dict[str, Tensor]:
        """A copy of one member's weights on the CPU: member axis of length 1, own sizes only."""
        return take_member(self, member, self._shapes(self.sizes.of([member])))

    def keep(self, members: Sequence[int]) -> None:
        """Become the stack of these members, in this order; parameters stay the same objects."""
        sizes = self.sizes.of(members)
        keep_members(self, members, self._shapes(sizes))
        for block in self._blocks():
            block.dropout_m = [block.dropout_m[m] for m in members]
        self.sizes = sizes

    def latent(self, batch: CellBatch) -> Posterior:
        """`q(z | cell)` without dropout; unknown batches are marginalised.

        A dimension that a member does not use has mean 0 and variance 1: the prior.
        """
        rna_n = self._encoded(batch)
        return self._own_dimensions(self.encoder.marginal(batch, rna_n, self.batch_prior_me))

    def latents_by_batch(self, batch: CellBatch) -> Float[Tensor, "k m b l"]:
        """Means of `latent`, and after them those as if each unknown batch were `k` - 1."""
        rna_n = self.rna.encode(batch)
        marginal, means = self.encoder.over_batches(batch, rna_n, self.batch_prior_me)
        means = means or [marginal.mean_mbl] * self.batch_prior_me.shape[1]
        every = torch.stack([marginal.mean_mbl, *means])
        return torch.where(self.latent_mask_ml.unsqueeze(1), every, 0.0)

    def known_batch(self, batch: CellBatch) -> Float[Tensor, "m b e"]:
        """The batch covariate for decoding: unknown batches become the mean over batches."""
        unknown = batch.batch_mbe.sum(-1, keepdim=True) == 0
        return torch.where(unknown, self.batch_prior_me.unsqueeze(1), batch.batch_mbe)

    def protein_rates(
        self, decoded: Decoded, log_background_mba: Tensor, batch_mbe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Background and foreground rates of every protein, scaled by the batch's efficiency."""
        return self._protein.rates(decoded, log_background_mba, batch_mbe)

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

        `noise` draws `z`, the protein background, dropout and what is hidden from the encoder;
        None takes means.
        """
        if noise is None:  # as the latents that heads read: unknown batches are marginalised
            return self.terms_at_mean(batch, self.latent(batch))
        return self.drawn(batch, noise)[1]

    def drawn(
        self, batch: CellBatch, noise: Noise
    ) -> tuple[Posterior, dict[str, Float[Tensor, "m b"]]]:
        """The posterior of a training step, with what `noise` hides hidden; and the terms of it."""
        seen = self.recipe.masking.hide(batch, self.sizes.own_genes, noise)
        posterior = self._own_dimensions(self.encoder(seen, self._encoded(seen), noise))
        mean, variance = posterior
        drawn = noise.normal(mean) * variance.sqrt() * self.latent_mask_ml.unsqueeze(1)
        return posterior, self._terms(batch, posterior, mean + drawn, noise)

    def terms_at_mean(
        self, batch: CellBatch, posterior: Posterior
    ) -> dict[str, Float[Tensor, "m b"]]:
        """The terms at the mean of a posterior that `latent` gave."""
        return self._terms(batch, posterior, posterior.mean_mbl, None)

    def loss(
        self, terms: dict[str, Float[Tensor, "m b"]], weight_mb: Tensor, kl_weight: float | Tensor
    ) -> Float[Tensor, " m"]:
        """Weighted objective of each member: mean over its cells."""
        total = self.recipe.weights.total(terms, kl_weight, self.kl_weight_m)
        return (total * weight_mb).sum(-1) / weight_mb.sum(-1).clamp_min(1.0)

    def _terms(
        self, batch: CellBatch, posterior: Posterior, z_mbl: Tensor, noise: Noise | None
    ) -> dict[str, Tensor]:
        batch_mbe = self.known_batch(batch)
        decoded = self.decoder(z_mbl, batch_mbe, noise)
        return {
            "rna": self._rna_term(decoded, batch_mbe, batch),
            "kl_z": kl_standard_normal(*posterior).sum(-1),
            **self._protein.terms(decoded, batch, batch_mbe, noise),
            **receptor_terms(decoded, batch, self.recipe.weights.clone_level),
        }

    def _encoded(self, batch: CellBatch) -> Float[Tensor, " n"]:
        """What the encoder sees of RNA; nothing of a cohort without genes."""
        return self.rna.encode(batch) if self.sizes.genes else batch.x.value_n

    def _rna_term(self, decoded: Decoded, batch_mbe: Tensor, batch: CellBatch) -> Tensor:
        if not self.sizes.genes:
            return torch.zeros_like(batch.weight_mb)
        return -self.rna.log_prob(decoded, batch_mbe, batch)

    def _own_dimensions(self, posterior: Posterior) -> Posterior:
        own = self.latent_mask_ml.unsqueeze(1)
        return Posterior(
            torch.where(own, posterior.mean_mbl, 0.0), torch.where(own, posterior.variance_mbl, 1.0)
        )

    @property
    def _protein(self) -> ProteinWeights:
        return ProteinWeights(
            log_theta_m1a=self.log_protein_theta,
            log_efficiency_mea=self.log_efficiency,
            prior_mean_mea=self.background_prior_mean,
            prior_log_scale_mea=self.background_prior_log_scale,
        )

    def _shapes(self, sizes: Sizes) -> dict[str, torch.Size]:
        with torch.device("meta"):  # shapes only
            return shapes_of(TotalVIStack(self.recipe, sizes, len(sizes.batches)))

    def _blocks(self) -> list[StackedBlock]:
        return [block for block in self.modules() if isinstance(block, StackedBlock)]
