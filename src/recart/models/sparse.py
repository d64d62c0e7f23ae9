"""The encoder's first layer on sparse counts: products that read non-zeros only."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from recart.contracts import SparseRows
from recart.models.stacked import fill_uniform

__all__ = ["SparseLinear", "sparse_product"]


class _SparseProduct(torch.autograd.Function):
    """`X W` for sparse constant `X`: each row of the result is a weighted bag of rows of `W`."""

    @staticmethod
    def forward(ctx: Any, value_n: Tensor, weight_mgh: Tensor, x: SparseRows) -> Tensor:
        ctx.x = x
        ctx.save_for_backward(value_n)
        members, width, _ = x.shape
        bags = embedding_bag(
            x.column_n,
            weight_mgh.reshape(-1, weight_mgh.shape[-1]),
            x.row_start,
            mode="sum",
            per_sample_weights=value_n,
            include_last_offset=True,
        )
        return bags.view(members, width, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        (value_n,) = ctx.saved_tensors
        x: SparseRows = ctx.x
        members, _, genes = x.shape
        flat = gradients[0].reshape(-1, gradients[0].shape[-1])
        order_n, row_n, column_start = x.by_column
        bags = embedding_bag(
            row_n,
            flat,
            column_start,
            mode="sum",
            per_sample_weights=value_n.index_select(0, order_n),
            include_last_offset=True,
        )
        return None, bags.view(members, genes, -1), None


def sparse_product(
    value_n: Float[Tensor, " n"], weight_mgh: Float[Tensor, "m g h"], x: SparseRows
) -> Float[Tensor, "m b h"]:
    """`X W` of every member, where `X` holds `value_n` at the places of `x`.

    The gradient reaches `W` alone, through the non-zeros in order of columns.
    """
    product: Tensor = _SparseProduct.apply(value_n, weight_mgh, x)  # type: ignore[no-untyped-call]
    return product


@final
class SparseLinear(nn.Module):
    """`x W` for sparse `x`, every member; the bias stands in the layer it is added to.

    `beside` is how many inputs that layer has: both together are one linear map.
    """

    def __init__(self, members: int, inputs: int, outputs: int, beside: int) -> None:
        super().__init__()
        self.fan_in = inputs + beside
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs))

    @torch.no_grad()
    def initialise(self, member: int, generator: torch.Generator, conditions: int) -> None:
        """Torch's default for linear layers."""
        bound = 1 / math.sqrt(max(1, self.fan_in + conditions))
        fill_uniform(self.weight[member], bound, generator)

    def forward(self, value_n: Float[Tensor, " n"], x: SparseRows) -> Float[Tensor, "m b h"]:
        """Apply every member's map to its own cells; without inputs it is 0."""
        members, inputs, outputs = self.weight.shape
        if not inputs:
            return value_n.new_zeros(members, x.shape[1], outputs)
        return sparse_product(value_n, self.weight, x)
