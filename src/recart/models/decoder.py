"""The decoder: `z` and batch to RNA profile, protein mixture and receptor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recart.models.noise import Noise
from recart.models.stacked import StackedLinear, StackedMLP

__all__ = ["Decoded", "Decoder"]


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What a cell is expected to show.

    `background_*` are mean and scale of the log background rate of every protein; `foreground` is
    the factor (> 1) of foreground over background; `mixing` the logit of *background*. The RNA
    likelihood reads the features `rna_mbi` (and `mixing_mbi` for extra zeros) through its own head.
    """

    rna_mbi: Float[Tensor, "m b i"]
    mixing_mbi: Float[Tensor, "m b i"]
    background_mean_mba: Float[Tensor, "m b a"]
    background_scale_mba: Float[Tensor, "m b a"]
    foreground_mba: Float[Tensor, "m b a"]
    mixing_mba: Float[Tensor, "m b a"]
    receptor_mbt: Float[Tensor, "m b t"]
    receptor_presence_mb: Float[Tensor, "m b"]


@final
class Decoder(nn.Module):
    """totalVI's four trunks, each followed by heads on `[trunk, z]`, and a receptor head.

    The heads keep totalVI's sizes, so that weights can be copied from scvi-tools. The head to genes
    belongs to the RNA likelihood.
    """

    def __init__(
        self,
        members: int,
        sizes: tuple[int, int],
        latent: int,
        hidden: int,
        layers: int,
        conditions: int,
        dropout: float,
    ) -> None:
        super().__init__()
        proteins, receptor = sizes

        def trunk() -> StackedMLP:
            return StackedMLP(members, latent, hidden, layers, conditions, dropout)

        def head(outputs: int) -> StackedLinear:
            return StackedLinear(members, hidden + latent, outputs, conditions)

        self.rna_trunk = trunk()
        self.background_trunk = trunk()
        self.background_mean = head(proteins)
        self.background_scale = head(proteins)
        self.foreground_trunk = trunk()
        self.foreground = head(proteins)
        self.mixing_trunk = trunk()
        self.mixing = head(proteins)
        # the receptor is read off z alone: its sequence does not depend on the library
        self.receptor = StackedLinear(members, latent, receptor)
        self.presence = StackedLinear(members, latent, 1)

    def forward(
        self,
        z_mbl: Float[Tensor, "m b l"],
        batch_mbe: Float[Tensor, "m b e"],
        noise: Noise | None,
    ) -> Decoded:
        """Decode every member's cells under the given batch covariate."""

        def with_z(trunk: StackedMLP) -> Tensor:
            return torch.cat((trunk(z_mbl, batch_mbe, noise), z_mbl), dim=-1)

        rna, background = with_z(self.rna_trunk), with_z(self.background_trunk)
        foreground, mixing = with_z(self.foreground_trunk), with_z(self.mixing_trunk)
        softplus = nn.functional.softplus
        return Decoded(
            rna_mbi=rna,
            mixing_mbi=mixing,
            background_mean_mba=self.background_mean(background, batch_mbe),
            background_scale_mba=softplus(self.background_scale(background, batch_mbe)) + 1e-8,
            foreground_mba=torch.relu(self.foreground(foreground, batch_mbe)) + 1 + 1e-8,
            mixing_mba=self.mixing(mixing, batch_mbe),
            receptor_mbt=self.receptor(z_mbl),
            receptor_presence_mb=self.presence(z_mbl).squeeze(-1),
        )
