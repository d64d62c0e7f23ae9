"""RNA likelihoods: how counts (or normalised values) of a cell follow from its decoded features.

A likelihood is a recipe (frozen, plain arguments, one YAML each); `stack` gives it its weights, the
last linear layer to genes among them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recart.contracts import CellBatch
from recart.losses.gene_head import GeneHead, fused_log_prob, masked_softmax
from recart.losses.negative_binomial import log_zinb, sample_nb
from recart.models.decoder import Decoded
from recart.models.dispersion import Dispersion
from recart.models.rna_likelihood import RnaLikelihood, RnaSizes, StackedRna
from recart.models.stacked import StackedLinear

__all__ = ["NegativeBinomial", "Normal", "Poisson", "ZeroInflated"]


class _CountRna(StackedRna):
    """Softmax profile times observed library size.

    `gene_weight_mg` says how much each gene counts for the depth of a cell when others are masked:
    1 for all until it is set.
    """

    def __init__(self, sizes: RnaSizes) -> None:
        super().__init__(sizes)
        self.register_buffer("gene_weight_mg", torch.ones(sizes.members, sizes.genes))
        self.gene_weight_mg: Tensor

    def set_gene_weight(self, member: int, weight_g: Float[Tensor, " g"]) -> None:
        """Weights of one member's genes; their mean is 1."""
        self.gene_weight_mg[member, : len(weight_g)] = weight_g

    def encode(self, batch: CellBatch) -> Float[Tensor, " n"]:
        """`log(1 + x / (1 + mean x))`, the mean as far as the genes tell it that are there.

        The input transformation of scvi-tools' TOTALVI.
        """
        x = batch.x
        # in float64: a wider stack pads the sum, and must not round it otherwise
        there_m = (batch.x_mask_mg * self.gene_weight_mg).sum(-1, True, dtype=torch.float64)
        there_m = there_m.clamp_min(1e-3).to(x.value_n.dtype)
        scale_mb = 1 / (1 + x.row_sums(x.value_n) / there_m)
        return torch.log1p(x.value_n * scale_mb.view(-1).index_select(0, x.row_n))

    def profile(
        self, decoded: Decoded, batch_mbe: Float[Tensor, "m b e"], batch: CellBatch
    ) -> Float[Tensor, "m b g"]:
        """Softmax over genes."""
        return masked_softmax(self.head(decoded.rna_mbi, batch_mbe), batch.x_mask_mg)

    def mean(
        self, decoded: Decoded, batch_mbe: Float[Tensor, "m b e"], batch: CellBatch
    ) -> Float[Tensor, "m b g"]:
        """Library size times the softmax over genes."""
        library = batch.x.row_sums(batch.x.value_n).unsqueeze(-1)
        return library * self.profile(decoded, batch_mbe, batch)


@final
class _NegativeBinomialRna(_CountRna):
    def __init__(self, sizes: RnaSizes, per_batch: bool, bfloat16: bool) -> None:
        super().__init__(sizes)
        self.half_products = bfloat16
        self.dispersion = Dispersion(sizes, per_batch)

    def draw_dispersion(self, seeds: Sequence[int]) -> None:
        """Standard normal log inverse dispersion, as scvi-tools."""
        self.dispersion.draw(seeds)

    def log_prob(
        self, decoded: Decoded, batch_mbe: Float[Tensor, "m b e"], batch: CellBatch
    ) -> Float[Tensor, "m b"]:
        """Log NB."""
        weight = self.head.weight
        head = GeneHead(
            h_mbi=decoded.rna_mbi.to(weight.dtype),
            weight_mig=weight,
            condition_meg=self.head.condition,
            bias_mg=self.head.bias,
            log_theta_mkg=self.dispersion.log_theta,
            batch_mbe=batch_mbe,
            design_mbk=self.dispersion.design(batch_mbe),
            mask_mg=batch.x_mask_mg,
        )
        half = self.half_products or torch.is_autocast_enabled(weight.device.type)
        with torch.autocast(weight.device.type, enabled=False):  # the likelihood keeps its digits
            return fused_log_prob(head, batch.x, batch.weight_mb, half)

    def sample(
        self,
        decoded: Decoded,
        batch_mbe: Float[Tensor, "m b e"],
        batch: CellBatch,
        generator: torch.Generator,
    ) -> Float[Tensor, "m b g"]:
        """Gamma-Poisson draws."""
        mean_mbg = self.mean(decoded, batch_mbe, batch)
        drawn = sample_nb(mean_mbg, self.dispersion.theta(batch_mbe), generator)
        return drawn.to(mean_mbg.device)


@final
class _ZeroInflatedRna(_CountRna):
    def __init__(self, sizes: RnaSizes, per_batch: bool) -> None:
        super().__init__(sizes)
        self.dispersion = Dispersion(sizes, per_batch)
        # reads the mixing features, as in scvi-tools
        self.zero_logits = StackedLinear(sizes.members, sizes.inputs, sizes.genes, sizes.conditions)

    def draw_dispersion(self, seeds: Sequence[int]) -> None:
        """Standard normal log inverse dispersion, as scvi-tools."""
        self.dispersion.draw(seeds)

    def log_prob(
        self, decoded: Decoded, batch_mbe: Float[Tensor, "m b e"], batch: CellBatch
    ) -> Float[Tensor, "m b"]:
        """Log ZINB."""
        mu = self.mean(decoded, batch_mbe, batch)
        zero_logits = self.zero_logits(decoded.mixing_mbi, batch_mbe)
        theta = self.dispersion.theta(batch_mbe)
        log_prob = log_zinb(batch.x.dense(), mu, theta, zero_logits)
        return torch.where(batch.x_mask_mg.unsqueeze(1), log_prob, 0.0).sum(-1)

    def sample(
        self,
        decoded: Decoded,
        batch_mbe: Float[Tensor, "m b e"],
        batch: CellBatch,
        generator: torch.Generator,
    ) -> Float[Tensor, "m b g"]:
        """Gamma-Poisson draws, some of which become extra zeros."""
        mean_mbg = self.mean(decoded, batch_mbe, batch)
        drawn = sample_nb(mean_mbg, self.dispersion.theta(batch_mbe), generator)
        zero_logits = self.zero_logits(decoded.mixing_mbi, batch_mbe)
        kept = torch.bernoulli(torch.sigmoid(-zero_logits).cpu(), generator=generator)
        return (drawn * kept).to(mean_mbg.device)


@final
class _PoissonRna(_CountRna):
    def log_prob(
        self, decoded: Decoded, batch_mbe: Float[Tensor, "m b e"], batch: CellBatch
    ) -> Float[Tensor, "m b"]:
        """Log Poisson."""
        rate = self.mean(decoded, batch_mbe, batch).clamp_min(1e-8)
        x = batch.x.dense()
        log_prob = x * torch.log(rate) - rate - torch.lgamma(x + 1)
        return torch.where(batch.x_mask_mg.unsqueeze(1), log_prob, 0.0).sum(-1)

    def sample(
        self,
        decoded: Decoded,
        batch_mbe: Float[Tensor, "m b e"],
        batch: CellBatch,
        generator: torch.Generator,
    ) -> Float[Tensor, "m b g"]:
        """Poisson draws."""
        mean_mbg = self.mean(decoded, batch_mbe, batch)
        return torch.poisson(mean_mbg.cpu(), generator=generator).to(mean_mbg.device)


@final
class _NormalRna(StackedRna):
    def __init__(self, sizes: RnaSizes) -> None:
        super().__init__(sizes)
        self.log_scale = nn.Parameter(torch.zeros(sizes.members, 1, sizes.genes))

    def encode(self, batch: CellBatch) -> Float[Tensor, " n"]:
        """The values as they are."""
        return batch.x.value_n

    def profile(
        self, decoded: Decoded, batch_mbe: Float[Tensor, "m b e"], batch: CellBatch
    ) -> Float[Tensor, "m b g"]:
        """The decoded values as they are: the library size was taken out before."""
        values: Tensor = self.head(decoded.rna_mbi, batch_mbe)
        return values * batch.x_mask_mg.unsqueeze(1)

    def mean(
        self, decoded: Decoded, batch_mbe: Float[Tensor, "m b e"], batch: CellBatch
    ) -> Float[Tensor, "m b g"]:
        """The same: there is no library size."""
        return self.profile(decoded, batch_mbe, batch)

    def scale(self) -> Float[Tensor, "m 1 g"]:
        """Standard deviation of each gene."""
        # the floor keeps a gene that is constant in training from dominating the objective
        return torch.nn.functional.softplus(self.log_scale) + 0.05

    def log_prob(
        self, decoded: Decoded, batch_mbe: Float[Tensor, "m b e"], batch: CellBatch
    ) -> Float[Tensor, "m b"]:
        """Log normal density with a scale per gene."""
        scale = self.scale()
        residual = (batch.x.dense() - self.head(decoded.rna_mbi, batch_mbe)) / scale
        log_prob = -0.5 * (residual.square() + math.log(2 * math.pi)) - scale.log()
        return torch.where(batch.x_mask_mg.unsqueeze(1), log_prob, 0.0).sum(-1)

    def sample(
        self,
        decoded: Decoded,
        batch_mbe: Float[Tensor, "m b e"],
        batch: CellBatch,
        generator: torch.Generator,
    ) -> Float[Tensor, "m b g"]:
        """Normal draws."""
        mean_mbg = self.mean(decoded, batch_mbe, batch)
        normal = torch.randn(mean_mbg.shape, generator=generator, dtype=mean_mbg.dtype)
        drawn: Tensor = mean_mbg + normal.to(mean_mbg.device) * self.scale()
        return drawn * batch.x_mask_mg.unsqueeze(1)


@final
@dataclass(frozen=True)
class NegativeBinomial(RnaLikelihood):
    """NB with inverse dispersion per gene, or per gene and batch (`per_batch`).

    `bfloat16` rounds the inputs of the gene head's products, faster where the processor or the
    card has them; the likelihood stays in float32.
    """

    per_batch: bool = False
    bfloat16: bool = False

    def stack(self, sizes: RnaSizes) -> StackedRna:
        """Weights of the likelihood."""
        return _NegativeBinomialRna(sizes, self.per_batch, self.bfloat16)


@final
@dataclass(frozen=True)
class ZeroInflated(RnaLikelihood):
    """ZINB: NB with an extra-zero probability per cell and gene."""

    per_batch: bool = False

    def stack(self, sizes: RnaSizes) -> StackedRna:
        """Weights of the likelihood."""
        return _ZeroInflatedRna(sizes, self.per_batch)


@final
@dataclass(frozen=True)
class Poisson(RnaLikelihood):
    """Poisson counts; no dispersion."""

    def stack(self, sizes: RnaSizes) -> StackedRna:
        """Weights of the likelihood."""
        return _PoissonRna(sizes)


@final
@dataclass(frozen=True)
class Normal(RnaLikelihood):
    """Normal likelihood for values that were normalised before; says so by `counts = False`."""

    counts = False

    def stack(self, sizes: RnaSizes) -> StackedRna:
        """Weights of the likelihood."""
        return _NormalRna(sizes)
