"""Random numbers of a stack: every member draws from a stream of its own.

A stream is a pure function of (seed of the member, step). So a member draws the same numbers in
any company, and a resumed training draws what the unbroken one would have drawn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

__all__ = ["MemberNoise", "Noise", "member_generator"]

_STEP_STRIDE = 1_000_003  # prime: (seed, step) pairs of a sweep do not collide


def member_generator(seed: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The generator of one member at one step."""
    generator = torch.Generator(device=device)
    return generator.manual_seed((seed * 2_147_483_629 + step * _STEP_STRIDE) % (2**63))


class Noise(ABC):
    """What a model draws in training. Evaluation passes None instead: means, no dropout."""

    @abstractmethod
    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers of the shape of `like`, members first."""

    @abstractmethod
    def keep(self, like: Tensor, rate: float) -> Tensor:
        """Inverted-dropout factors of the shape of `like`: 0 with probability `rate`."""


@final
class MemberNoise(Noise):
    """One stream per member, restarted at every step from (seed, step)."""

    def __init__(self, seeds: Sequence[int], step: int, device: torch.device | str = "cpu") -> None:
        self.generators = [member_generator(seed, step, device) for seed in seeds]

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers, one stream per member."""
        drawn = torch.empty_like(like.detach())
        for generator, out in zip(self.generators, drawn, strict=True):
            torch.randn(out.shape, generator=generator, out=out)
        return drawn

    def keep(self, like: Tensor, rate: float) -> Tensor:
        """Dropout factors, one stream per member; `rate` is kept to 1 / 65,536."""
        own = like[0].numel()
        # four 16-bit numbers of each 64-bit one: drawing is what dropout costs
        words = torch.empty(
            len(self.generators), -(-own // 4), dtype=torch.int64, device=like.device
        )
        for generator, out in zip(self.generators, words, strict=True):
            out.random_(-(2**63), None, generator=generator)
        drawn = words.view(torch.int16)[:, :own].view(like.shape)
        kept = drawn >= round(rate * 2**16) - 2**15
        return kept.to(like.dtype).mul_(1.0 / (1.0 - rate))
