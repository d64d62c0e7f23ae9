"""Layers whose every weight has a leading member axis: one layer is a stack of models.

Members never mix: products are batched over `m`, normalisation is LayerNorm over hidden units.
With one member the batched product is a plain one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recart.models.noise import Noise, member_generator
from recart.models.rectified import rectified
from recart.products import stacked_product

__all__ = ["StackedBlock", "StackedLinear", "StackedMLP", "fill_uniform", "initialise"]


def fill_uniform(parameter: Tensor, bound: float, generator: torch.Generator) -> None:
    """Fill in place, row after row: rows do not depend on how many follow."""
    drawn = torch.rand(parameter.shape, generator=generator)
    parameter.copy_(drawn.mul_(2).sub_(1).mul_(bound))


@final
class StackedLinear(nn.Module):
    """`x W + c V + bias`, for every member; `c` is the batch covariate.

    The same map as scvi-tools' linear layer on the concatenation `[x, one-hot batch]`, kept as
    two products so that the covariate may be a distribution over categories. `beside` is how many
    further inputs enter the same sum through another map.
    """

    def __init__(
        self, members: int, inputs: int, outputs: int, conditions: int = 0, beside: int = 0
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.beside = beside
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs))
        self.condition = nn.Parameter(torch.empty(members, conditions, outputs))
        self.bias = nn.Parameter(torch.empty(members, outputs))

    @torch.no_grad()
    def initialise(self, member: int, generator: torch.Generator, conditions: int) -> None:
        """Torch's default for linear layers; categories the member lacks stay zero."""
        conditions = conditions if self.condition.shape[1] else 0
        bound = 1 / math.sqrt(max(1, self.inputs + self.beside + conditions))
        fill_uniform(self.weight[member], bound, generator)
        fill_uniform(self.bias[member], bound, generator)
        self.condition[member].zero_()
        fill_uniform(self.condition[member, :conditions], bound, generator)

    def forward(
        self, x_mbi: Float[Tensor, "m b i"], batch_mbe: Float[Tensor, "m b e"] | None = None
    ) -> Float[Tensor, "m b o"]:
        """Apply every member's map to its own cells."""
        out = stacked_product(x_mbi, self.weight) + self.bias.unsqueeze(1)
        if batch_mbe is not None and self.condition.shape[1]:
            out = out + torch.bmm(batch_mbe, self.condition)
        return out


@final
class StackedBlock(nn.Module):
    """Linear -> LayerNorm (no learned scale, as scvi-tools) -> ReLU -> dropout.

    `dropout_m` is the rate of each member, `dropout` of all unless it is changed.
    """

    def __init__(
        self,
        members: int,
        inputs: int,
        outputs: int,
        conditions: int,
        dropout: float,
        beside: int = 0,
    ) -> None:
        super().__init__()
        self.linear = StackedLinear(members, inputs, outputs, conditions, beside)
        self.dropout_m = [dropout] * members

    def forward(
        self,
        x_mbi: Float[Tensor, "m b i"],
        batch_mbe: Float[Tensor, "m b e"],
        noise: Noise | None,
    ) -> Float[Tensor, "m b h"]:
        """Hidden units of every member's cells."""
        return self.activate(self.linear(x_mbi, batch_mbe), noise)

    def activate(
        self, h_mbh: Float[Tensor, "m b h"], noise: Noise | None
    ) -> Float[Tensor, "m b h"]:
        """What follows the linear map."""
        h_mbh = nn.functional.layer_norm(h_mbh, h_mbh.shape[-1:])
        if noise is None or not any(self.dropout_m):
            return torch.relu(h_mbh)
        return rectified(h_mbh, noise.keep(h_mbh, self.dropout_m), self.dropout_m)


@final
class StackedMLP(nn.Module):
    """`layers` blocks of `hidden` units; the covariate enters every block, as in scvi-tools."""

    def __init__(
        self,
        members: int,
        inputs: int,
        hidden: int,
        layers: int,
        conditions: int,
        dropout: float,
        beside: int = 0,
    ) -> None:
        super().__init__()
        first = StackedBlock(members, inputs, hidden, conditions, dropout, beside)
        rest = (
            StackedBlock(members, hidden, hidden, conditions, dropout) for _ in range(layers - 1)
        )
        self.blocks = nn.ModuleList([first, *rest])

    @property
    def first(self) -> StackedBlock:
        """The block that reads the inputs."""
        block = self.blocks[0]
        if not isinstance(block, StackedBlock):
            raise TypeError(f"blocks hold {type(block).__name__}")
        return block

    def forward(
        self,
        x_mbi: Float[Tensor, "m b i"],
        batch_mbe: Float[Tensor, "m b e"],
        noise: Noise | None,
    ) -> Float[Tensor, "m b h"]:
        """Hidden units after the last block."""
        for block in self.blocks:
            x_mbi = block(x_mbi, batch_mbe, noise)
        return x_mbi


@runtime_checkable
class _Drawn(Protocol):
    """A layer whose weights are drawn at the start."""

    def initialise(self, member: int, generator: torch.Generator, conditions: int) -> None: ...


def initialise(module: nn.Module, seeds: Sequence[int], conditions: Sequence[int]) -> None:
    """Draw every linear layer of `module`, each from its own stream of each member.

    A layer's stream is keyed by (seed, position of the layer), so members start from the same
    weights alone and in company. `conditions[m]` is how many batch categories member `m` has.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _Drawn)]
    for position, layer in enumerate(layers):
        for member, (seed, own) in enumerate(zip(seeds, conditions, strict=True)):
            layer.initialise(member, member_generator(seed, -1 - position), own)
