"""RNA likelihoods: how counts (or normalised values) of a cell follow from its decoded profile.

A likelihood is a recipe (frozen, plain arguments, one YAML each); `stack` gives it its weights.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recart.contracts import CellBatch
from recart.losses.negative_binomial import log_nb_sum, log_zinb
from recart.models.encoder import log_depth_normalised
from recart.models.noise import member_generator

__all__ = ["NegativeBinomial", "Normal", "Poisson", "RnaLikelihood", "StackedRna", "ZeroInflated"]

_DISPERSION_STREAM = -1000  # away from the streams of the linear layers


class StackedRna(nn.Module, ABC):
    """The weights of a likelihood for a stack of members."""

    needs_zero_logits: bool = False  # whether the decoder owes it logits of extra zeros

    @abstractmethod
    def encode(self, batch: CellBatch) -> Float[Tensor, "m b g"]:
        """What the encoder sees of the RNA; masked genes are 0."""

    @abstractmethod
    def mean(self, decoded_mbg: Float[Tensor, "m b g"], batch: CellBatch) -> Float[Tensor, "m b g"]:
        """Expected value of every gene."""

    @abstractmethod
    def log_prob(
        self,
        decoded_mbg: Float[Tensor, "m b g"],
        zero_logits_mbg: Float[Tensor, "m b g"] | None,
        batch: CellBatch,
    ) -> Float[Tensor, "m b"]:
        """Log likelihood summed over the genes that are not masked."""

    def initialise(self, seeds: list[int]) -> None:
        """Draw what is random at the start, from each member's own stream."""


class RnaLikelihood(ABC):
    """A recipe for `StackedRna`."""

    counts: bool = True

    @abstractmethod
    def stack(self, members: int, genes: int, conditions: int) -> StackedRna:
        """Weights for `members` models of `genes` genes and `conditions` batch categories."""


class _CountRna(StackedRna):
    """Softmax profile times observed library size."""

    def encode(self, batch: CellBatch) -> Float[Tensor, "m b g"]:
        """Depth-normalised log counts."""
        mask = batch.x_mask_mg.unsqueeze(1).to(batch.x_mbg.dtype)
        return log_depth_normalised(batch.x_mbg, mask)

    def mean(self, decoded_mbg: Float[Tensor, "m b g"], batch: CellBatch) -> Float[Tensor, "m b g"]:
        """Library size times the softmax over genes."""
        library = (batch.x_mbg * batch.x_mask_mg.unsqueeze(1)).sum(-1, keepdim=True)
        # the least finite value: with every gene masked the softmax of -inf would be NaN
        least = torch.finfo(decoded_mbg.dtype).min
        logits = decoded_mbg.masked_fill(~batch.x_mask_mg.unsqueeze(1), least)
        return library * torch.softmax(logits, dim=-1)


@final
class _NegativeBinomialRna(_CountRna):
    def __init__(
        self, members: int, genes: int, conditions: int, per_batch: bool, zero_inflated: bool
    ) -> None:
        super().__init__()
        self.needs_zero_logits = zero_inflated
        shape = (members, conditions, genes) if per_batch else (members, 1, genes)
        self.per_batch = per_batch
        self.log_theta = nn.Parameter(torch.zeros(shape))

    @torch.no_grad()
    def initialise(self, seeds: list[int]) -> None:
        """Standard normal log inverse dispersion, as scvi-tools."""
        for seed, own in zip(seeds, self.log_theta, strict=True):
            for row in own:
                generator = member_generator(seed, _DISPERSION_STREAM)
                row.copy_(torch.randn(row.shape, generator=generator))

    def theta(self, batch: CellBatch) -> Float[Tensor, " m #b g"]:
        """Inverse dispersion: one row for all cells, or a row per cell with its batch's."""
        if not self.per_batch:
            return torch.exp(self.log_theta)
        return torch.exp(torch.bmm(batch.batch_mbe, self.log_theta))

    def log_prob(
        self,
        decoded_mbg: Float[Tensor, "m b g"],
        zero_logits_mbg: Float[Tensor, "m b g"] | None,
        batch: CellBatch,
    ) -> Float[Tensor, "m b"]:
        """Log NB, or log ZINB where zero logits are given."""
        mu_mbg = self.mean(decoded_mbg, batch)
        if zero_logits_mbg is None:
            return log_nb_sum(batch.x_mbg, mu_mbg, self.theta(batch), batch.x_mask_mg)
        log_prob = log_zinb(batch.x_mbg, mu_mbg, self.theta(batch), zero_logits_mbg)
        return torch.where(batch.x_mask_mg.unsqueeze(1), log_prob, 0.0).sum(-1)


@final
class _PoissonRna(_CountRna):
    def log_prob(
        self,
        decoded_mbg: Float[Tensor, "m b g"],
        zero_logits_mbg: Float[Tensor, "m b g"] | None,  # noqa: ARG002 -- one signature for all
        batch: CellBatch,
    ) -> Float[Tensor, "m b"]:
        """Log Poisson."""
        rate = self.mean(decoded_mbg, batch).clamp_min(1e-8)
        log_prob = batch.x_mbg * torch.log(rate) - rate - torch.lgamma(batch.x_mbg + 1)
        return torch.where(batch.x_mask_mg.unsqueeze(1), log_prob, 0.0).sum(-1)


@final
class _NormalRna(StackedRna):
    def __init__(self, members: int, genes: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(members, 1, genes))

    def encode(self, batch: CellBatch) -> Float[Tensor, "m b g"]:
        """The values as they are."""
        return batch.x_mbg * batch.x_mask_mg.unsqueeze(1)

    def mean(self, decoded_mbg: Float[Tensor, "m b g"], batch: CellBatch) -> Float[Tensor, "m b g"]:
        """The decoded values as they are."""
        return decoded_mbg * batch.x_mask_mg.unsqueeze(1)

    def log_prob(
        self,
        decoded_mbg: Float[Tensor, "m b g"],
        zero_logits_mbg: Float[Tensor, "m b g"] | None,  # noqa: ARG002 -- one signature for all
        batch: CellBatch,
    ) -> Float[Tensor, "m b"]:
        """Log normal density with a scale per gene."""
        # the floor keeps a gene that is constant in training from dominating the objective
        scale = torch.nn.functional.softplus(self.log_scale) + 0.05
        residual = (batch.x_mbg - decoded_mbg) / scale
        log_prob = -0.5 * (residual.square() + math.log(2 * math.pi)) - scale.log()
        return torch.where(batch.x_mask_mg.unsqueeze(1), log_prob, 0.0).sum(-1)


@final
@dataclass(frozen=True)
class NegativeBinomial(RnaLikelihood):
    """NB with inverse dispersion per gene, or per gene and batch (`per_batch`)."""

    per_batch: bool = False

    def stack(self, members: int, genes: int, conditions: int) -> StackedRna:
        """Weights of the likelihood."""
        return _NegativeBinomialRna(members, genes, conditions, self.per_batch, False)


@final
@dataclass(frozen=True)
class ZeroInflated(RnaLikelihood):
    """ZINB: NB with an extra-zero probability per cell and gene."""

    per_batch: bool = False

    def stack(self, members: int, genes: int, conditions: int) -> StackedRna:
        """Weights of the likelihood."""
        return _NegativeBinomialRna(members, genes, conditions, self.per_batch, True)


@final
@dataclass(frozen=True)
class Poisson(RnaLikelihood):
    """Poisson counts; no dispersion."""

    def stack(self, members: int, genes: int, conditions: int) -> StackedRna:  # noqa: ARG002
        """Weights of the likelihood (there are none)."""
        return _PoissonRna()


@final
@dataclass(frozen=True)
class Normal(RnaLikelihood):
    """Normal likelihood for values that were normalised before; says so by `counts = False`."""

    counts = False

    def stack(self, members: int, genes: int, conditions: int) -> StackedRna:  # noqa: ARG002
        """Weights of the likelihood."""
        return _NormalRna(members, genes)
