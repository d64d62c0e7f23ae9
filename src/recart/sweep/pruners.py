"""Which trials are given up while their encoder trains, by the inner loss on the way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from recart.ranges import AT_LEAST_ONE, Range, require

__all__ = ["NoPruning", "PercentilePruning", "Pruner"]

Curve = Mapping[int, float]

_RUNGS = Range("epochs from 1", lambda x: len(x) > 0 and all(own >= 1 for own in x))


class Pruner(ABC):
    """Says how good a trial has to be at certain epochs.

    A bar is set by trials of earlier generations, before a trial begins: it does not depend on who
    is faster, so that a sweep that was interrupted prunes the same trials.
    """

    @property
    @abstractmethod
    def epochs(self) -> Sequence[int]:
        """Numbers of epochs after which a trial is looked at."""

    @abstractmethod
    def bars(self, finished: Sequence[Curve]) -> dict[int, float]:
        """The highest inner loss that may go on, by epoch, given the curves of finished trials."""


@final
@dataclass(frozen=True, kw_only=True)
class NoPruning(Pruner):
    """Every trial is trained to its end."""

    @property
    def epochs(self) -> Sequence[int]:
        """None."""
        return ()

    def bars(self, finished: Sequence[Curve]) -> dict[int, float]:  # noqa: ARG002
        """None."""
        return {}


@final
@dataclass(frozen=True, kw_only=True)
class PercentilePruning(Pruner):
    """A trial ends where it is worse than a share of the finished trials were at the same epoch.

    Parameters
    ----------
    percentile
        50 is the median: the better half goes on.
    rungs
        Numbers of epochs after which it is looked at.
    at_least
        Trials that have been trained to their end before any other may be given up.
    """

    percentile: float
    rungs: Sequence[int]
    at_least: int

    def __post_init__(self) -> None:
        """Refuse what prunes nothing or can't be, as a `ValueError`."""
        share = Range("from 0 to 100", lambda x: 0 <= x <= 100)
        require(self, {"percentile": share, "rungs": _RUNGS, "at_least": AT_LEAST_ONE})

    @property
    def epochs(self) -> Sequence[int]:
        """The rungs."""
        return tuple(self.rungs)

    def bars(self, finished: Sequence[Curve]) -> dict[int, float]:
        """The percentile at each rung that enough trials have reached."""
        found = {}
        for epoch in self.rungs:
            values = [curve[epoch] for curve in finished if epoch in curve]
            if len(values) >= self.at_least:
                found[int(epoch)] = float(np.percentile(values, self.percentile))
        return found
