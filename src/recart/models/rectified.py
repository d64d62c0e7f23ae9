"""ReLU and dropout as one function, which keeps one array for its gradient in place of three."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from recart.models.noise import sent_once

__all__ = ["rectified"]


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, keep: Tensor, rate_m: Sequence[float]) -> Tensor:
        out = torch.relu(h).mul_(keep)
        ctx.save_for_backward(out)  # which the next product keeps as well
        ctx.scale_m = tuple(1.0 / (1.0 - rate) for rate in rate_m)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (out,) = ctx.saved_tensors
        given = torch.ops.aten.threshold_backward(gradients[0], out, 0)
        if len(set(ctx.scale_m)) == 1:
            return given.mul_(ctx.scale_m[0]), None, None
        scale_m = sent_once(ctx.scale_m, given.dtype, given.device)
        return given.mul_(scale_m.view(-1, *(1,) * (given.ndim - 1))), None, None


def rectified(
    h_mbh: Float[Tensor, "m b h"], keep_mbh: Float[Tensor, "m b h"], rate_m: Sequence[float]
) -> Float[Tensor, "m b h"]:
    """`relu(h) keep`, where `keep` is 0, or `1 / (1 - rate)` with the member's `rate`."""
    out: Tensor = _Rectified.apply(h_mbh, keep_mbh, rate_m)  # type: ignore[no-untyped-call]
    return out
