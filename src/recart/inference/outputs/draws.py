"""Random draws of outputs: from generators of their own, the same whatever else is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["draw_background", "draw_negative_binomial", "generator_of", "global_draws", "normal"]


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


def draw_negative_binomial(mean: Tensor, theta: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma-Poisson counts of these means and inverse dispersions."""
    mean, theta = mean.cpu(), theta.cpu().expand_as(mean)
    # no argument of torch's gamma distribution takes a generator
    rate = torch._standard_gamma(theta, generator) * mean / theta
    return torch.poisson(rate, generator=generator)


@contextmanager
def global_draws(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """For code that draws from torch's global generator: seeded inside, as it was afterwards."""
    cards = [] if device.type == "cpu" else [device]
    seed = int(torch.randint(2**62, (1,), generator=generator))
    with torch.random.fork_rng(devices=cards):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
