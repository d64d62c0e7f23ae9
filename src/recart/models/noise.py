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

    def _draw(self, like: Tensor, normal: bool) -> Tensor:
        draw = torch.randn if normal else torch.rand
        drawn = torch.empty_like(like)
        for generator, out in zip(self.generators, drawn, strict=True):
            draw(out.shape, generator=generator, out=out)
        return drawn

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers, one stream per member."""
        return self._draw(like.detach(), normal=True)

    def keep(self, like: Tensor, rate: float) -> Tensor:
        """Dropout factors, one stream per member."""
        return (self._draw(like.detach(), normal=False) >= rate).to(like.dtype) / (1.0 - rate)
