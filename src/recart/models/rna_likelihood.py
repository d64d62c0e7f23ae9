"""What an RNA likelihood is: a recipe, and the weights it makes for a stack of members."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recart.contracts import CellBatch
from recart.models.decoder import Decoded
from recart.models.stacked import StackedLinear

__all__ = ["RnaLikelihood", "RnaSizes", "StackedRna"]


@dataclass(frozen=True)
class RnaSizes:
    """`members` models of `inputs` decoded features, `genes` genes, `conditions` categories."""

    members: int
    inputs: int
    genes: int
    conditions: int


class StackedRna(nn.Module, ABC):
    """The weights of a likelihood for a stack of members."""

    def __init__(self, sizes: RnaSizes) -> None:
        super().__init__()
        self.head = StackedLinear(sizes.members, sizes.inputs, sizes.genes, sizes.conditions)

    @abstractmethod
    def encode(self, batch: CellBatch) -> Float[Tensor, " n"]:
        """What the encoder sees of the RNA, at the non-zeros of `batch.x`."""

    @abstractmethod
    def profile(
        self, decoded: Decoded, batch_mbe: Float[Tensor, "m b e"], batch: CellBatch
    ) -> Float[Tensor, "m b g"]:
        """Expected value of every gene, free of the library size; 0 where masked."""

    @abstractmethod
    def mean(
        self, decoded: Decoded, batch_mbe: Float[Tensor, "m b e"], batch: CellBatch
    ) -> Float[Tensor, "m b g"]:
        """Expected value of every gene at the cell's observed library size; 0 where masked."""

    @abstractmethod
    def log_prob(
        self, decoded: Decoded, batch_mbe: Float[Tensor, "m b e"], batch: CellBatch
    ) -> Float[Tensor, "m b"]:
        """Log likelihood summed over the genes that are not masked.

        Its gradient holds for losses that weigh the cells of a member by `batch.weight_mb`.
        """

    @abstractmethod
    def sample(
        self,
        decoded: Decoded,
        batch_mbe: Float[Tensor, "m b e"],
        batch: CellBatch,
        generator: torch.Generator,
    ) -> Float[Tensor, "m b g"]:
        """A draw of counts (or values) at the cells' observed library sizes; 0 where masked.

        `generator` is of the CPU: the same numbers on every device.
        """

    def set_gene_weight(self, member: int, weight_g: Float[Tensor, " g"]) -> None:
        """How much each gene of a member counts for a cell's depth, for those that measure it."""

    def draw_dispersion(self, seeds: Sequence[int]) -> None:
        """Draw what is random at the start besides linear layers, from each member's stream."""


class RnaLikelihood(ABC):
    """A recipe for `StackedRna`."""

    counts: bool = True

    @abstractmethod
    def stack(self, sizes: RnaSizes) -> StackedRna:
        """Weights of the likelihood."""
