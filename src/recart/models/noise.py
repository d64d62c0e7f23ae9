"""Random numbers of a stack: every member draws from a stream of its own.

A stream is a pure function of (seed of the member, step). So a member draws the same numbers in
any company, and a resumed training draws what the unbroken one would have drawn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import final

import torch
from torch import Tensor

__all__ = ["MemberNoise", "Noise", "RowNoise", "member_generator", "sent_once"]

# Prime, so that neighbouring (seed, step) pairs lie far apart. A CPU generator keeps 32 bits of its
# seed: of the 750,000 or so streams of fifty members some 65 pairs are alike, as chance has it.
_STEP_STRIDE = 1_000_003


def member_generator(seed: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The generator of one member at one step."""
    return torch.Generator(device=device).manual_seed(_stream(seed, step))


def _stream(seed: int, step: int) -> int:
    return (seed * 2_147_483_629 + step * _STEP_STRIDE) % (2**63)


@lru_cache(maxsize=64)
def sent_once(
    values: tuple[int, ...] | tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """One value a member, sent once: a step that is being recorded can't be sent anything."""
    return torch.tensor(values, dtype=dtype, device=device)


class Noise(ABC):
    """What a model draws in training. Evaluation passes None instead: means, no dropout."""

    @abstractmethod
    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers of the shape of `like`, members first."""

    @abstractmethod
    def uniform(self, like: Tensor, lengths_m: Sequence[int] | None = None) -> Tensor:
        """Numbers from 0 to below 1, in steps of 1 / 65,536, of the shape of `like`.

        `lengths_m` as for `keep`.
        """

    @abstractmethod
    def keep(
        self,
        like: Tensor,
        rate: float | Sequence[float],
        lengths_m: Sequence[int] | None = None,
    ) -> Tensor:
        """Inverted-dropout factors of the shape of `like`: 0 with probability `rate`.

        `rate` may differ by member. `lengths_m` is how many values of each member mean anything,
        where the rest is padding: only for those are numbers drawn.
        """


@final
class MemberNoise(Noise):
    """One stream per member, restarted at every step from (seed, step)."""

    def __init__(self, seeds: Sequence[int], step: int, device: torch.device | str = "cpu") -> None:
        self.generators = [member_generator(seed, step, device) for seed in seeds]

    def restart(self, seeds: Sequence[int], step: int) -> None:
        """Begin the streams of another step; the generators stay the same objects."""
        for generator, seed in zip(self.generators, seeds, strict=True):
            generator.manual_seed(_stream(seed, step))

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers, one stream per member."""
        drawn = torch.empty_like(like.detach())
        for generator, out in zip(self.generators, drawn, strict=True):
            torch.randn(out.shape, generator=generator, out=out)
        return drawn

    def uniform(self, like: Tensor, lengths_m: Sequence[int] | None = None) -> Tensor:
        """Numbers of 16 bits, one stream per member."""
        drawn = self._words(like, [True] * len(self.generators), lengths_m)
        return (drawn.to(like.dtype) + 2**15) / 2**16

    def keep(
        self,
        like: Tensor,
        rate: float | Sequence[float],
        lengths_m: Sequence[int] | None = None,
    ) -> Tensor:
        """Dropout factors, one stream per member; rates are kept to 1 / 65,536.

        A member of rate 0 draws nothing, as it would alone.
        """
        rate_m = [rate] * len(self.generators) if isinstance(rate, int | float) else list(rate)
        drawn = self._words(like, [own > 0 for own in rate_m], lengths_m)
        least = [round(r * 2**16) - 2**15 for r in rate_m]  # none is below -2**15
        scale = [1.0 / (1.0 - r) for r in rate_m]
        if len(set(rate_m)) == 1:
            return (drawn >= least[0]).to(like.dtype).mul_(scale[0])
        shape = (-1, *(1,) * (like.ndim - 1))
        least_m = sent_once(tuple(least), torch.int16, like.device).view(shape)
        scale_m = sent_once(tuple(scale), like.dtype, like.device).view(shape)
        return (drawn >= least_m).to(like.dtype).mul_(scale_m)

    def _words(
        self, like: Tensor, draws_m: Sequence[bool], lengths_m: Sequence[int] | None
    ) -> Tensor:
        """16-bit integers of the shape of `like`, of the members that draw."""
        own = like[0].numel()
        lengths_m = [own] * len(self.generators) if lengths_m is None else lengths_m
        # four 16-bit numbers of each 64-bit one: drawing is what dropout costs
        words = torch.empty(
            len(self.generators), -(-own // 4), dtype=torch.int64, device=like.device
        )
        for generator, out, draws, length in zip(
            self.generators, words, draws_m, lengths_m, strict=True
        ):
            if draws:
                out[: -(-length // 4)].random_(-(2**63), None, generator=generator)
        return words.view(torch.int16)[:, :own].view(like.shape)


@final
class RowNoise(Noise):
    """What a whole minibatch draws, for some of its rows: minibatches split over processes.

    Everything is drawn for all `width` rows, so that numbers do not depend on how rows are split.
    Arrays of three axes have cells on the second; others have none and are whole in every process.
    """

    def __init__(self, whole: Noise, rows: slice, width: int) -> None:
        self.whole = whole
        self.rows = rows
        self.width = width

    def normal(self, like: Tensor) -> Tensor:
        """The rows' numbers."""
        return self._own(self.whole.normal(self._widened(like)))

    def uniform(self, like: Tensor, lengths_m: Sequence[int] | None = None) -> Tensor:
        """The rows' numbers."""
        return self._own(self.whole.uniform(self._widened(like), lengths_m))

    def keep(
        self,
        like: Tensor,
        rate: float | Sequence[float],
        lengths_m: Sequence[int] | None = None,
    ) -> Tensor:
        """The rows' dropout factors."""
        return self._own(self.whole.keep(self._widened(like), rate, lengths_m))

    def _widened(self, like: Tensor) -> Tensor:
        if like.ndim < 3:
            return like
        return like.new_empty((like.shape[0], self.width, *like.shape[2:]))

    def _own(self, drawn: Tensor) -> Tensor:
        return drawn if drawn.ndim < 3 else drawn[:, self.rows].contiguous()
