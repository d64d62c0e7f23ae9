"""Random draws of outputs: from generators of their own, the same whatever else is drawn."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["draw_background", "generator_of", "normal"]


def generator_of(seed: int, *path: int) -> torch.Generator:
    """The generator of one place of a computation; different paths draw independently."""
    state = np.random.SeedSequence((seed, *path)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of the shape of `like`, the same on every device."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)


def draw_background(
    is_background_mba: Float[Tensor, "m b a"], generator: torch.Generator
) -> Float[Tensor, "m b a"]:
    """1 where a protein of a cell is drawn to be background, 0 where foreground."""
    drawn = torch.bernoulli(is_background_mba.cpu(), generator=generator)
    return drawn.to(is_background_mba.device)
