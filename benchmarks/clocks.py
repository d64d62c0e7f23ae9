"""Clocks: of this process, of epochs, and of contenders that run in turn."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

__all__ = ["Epochs", "Rates", "now"]

Array = np.ndarray[Any, Any]


def now() -> Array:
    """CPU seconds of this process, and wall seconds, when the card has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return np.array([usage.ru_utime + usage.ru_stime, time.perf_counter()])


class Epochs(pl.Callback):
    """CPU and wall seconds of every epoch but the first.

    An epoch is what Lightning runs between two epoch starts, validation included.
    """

    def __init__(self) -> None:
        self.marks: list[Array] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        """An epoch begins where the last one, validation included, has ended."""
        self.marks.append(now())

    def on_train_end(self, *_: Any) -> None:
        """The end of the last epoch."""
        self.marks.append(now())

    def seconds(self) -> Array:
        """Median over epochs of (CPU, wall)."""
        median: Array = np.median(np.diff(self.marks[1:], axis=0), axis=0)
        return median


@dataclass
class Rates:
    """CPU and wall seconds of each contender, run by run."""

    seconds: dict[str, list[Array]] = field(default_factory=dict)

    def add(self, name: str, seconds: Array) -> None:
        """One more run."""
        self.seconds.setdefault(name, []).append(np.asarray(seconds))

    def median(self, name: str) -> Array:
        """(CPU, wall)."""
        median: Array = np.median(np.stack(self.seconds[name]), axis=0)
        return median

    def lines(self, peer: str, cells: int) -> Iterator[str]:
        """A heading, then rates and ratios to `peer`."""
        yield f"{'':34s} cells/CPU s    CPU s   wall s  x CPU  x wall   range of each"
        for name, runs in self.seconds.items():
            cpu, wall = self.median(name)
            ratio = self.median(peer) / self.median(name)
            pairs = np.stack(self.seconds[peer]) / np.stack(runs)
            (low, low_wall), (high, high_wall) = pairs.min(axis=0), pairs.max(axis=0)
            yield (
                f"{name:34s} {cells / cpu:11,.0f} {cpu:8.2f} {wall:8.2f} {ratio[0]:6.2f} "
                f"{ratio[1]:7.2f}   {low:.2f}-{high:.2f}, {low_wall:.2f}-{high_wall:.2f}"
            )
