"""Taking members out of a stack and putting them in: rows of every weight, cut or padded to size.

Members of fewer genes or batch categories than the widest of their stack are padded with zeros at
the end of those axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

__all__ = ["cut", "keep_members", "shapes_of", "take_member", "write_member"]

Shapes = Mapping[str, torch.Size]


def shapes_of(stack: nn.Module) -> dict[str, torch.Size]:
    """Shapes of all weights and buffers by name."""
    return {
        name: tensor.shape
        for name, tensor in chain(stack.named_parameters(), stack.named_buffers())
    }


def cut(tensor: Tensor, members: Sequence[int], shape: torch.Size) -> Tensor:
    """A copy of these members' rows, other axes cut to `shape`."""
    return tensor[list(members)][tuple(slice(n) for n in shape)].contiguous()


def take_member(stack: nn.Module, member: int, shapes: Shapes) -> dict[str, Tensor]:
    """A copy of one member's state on the CPU, in the shapes that it would have alone."""
    return {
        name: cut(tensor.detach(), [member], shapes[name]).cpu()
        for name, tensor in stack.state_dict().items()
    }


@torch.no_grad()
def write_member(stack: nn.Module, member: int, state: Mapping[str, Tensor]) -> None:
    """Write the state of a member alone over one of a stack's, zeros where it is narrower."""
    for name, tensor in stack.state_dict().items():
        own = state[name][0]
        tensor[member].zero_()
        tensor[member][tuple(slice(n) for n in own.shape)] = own


@torch.no_grad()
def keep_members(stack: nn.Module, members: Sequence[int], shapes: Shapes) -> None:
    """Leave these members only, in this order; weights stay the same objects, without gradients."""
    for name, tensor in chain(stack.named_parameters(), stack.named_buffers()):
        tensor.grad = None
        tensor.data = cut(tensor.data, members, shapes[name])
