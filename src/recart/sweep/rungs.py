"""Looks at trials while their encoder trains, and ends the training when none is good enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import final

import lightning.pytorch as pl
from torch import Tensor

from recart.data.features import Features
from recart.training.module import StackModule

__all__ = ["Rungs", "Watch"]


@final
class Watch:
    """What was seen of the trials that share one encoder.

    Parameters
    ----------
    look
        Given features, weights, the number of epochs and the trials that go on; returns the inner
        loss of each of these.
    bars
        The highest inner loss that may go on, by number of epochs; without one all go on.
    trials
        How many there are.

    Attributes
    ----------
    curves
        Inner loss of each trial by number of epochs.
    pruned
        Whether each trial was given up.
    """

    def __init__(
        self,
        look: Callable[[Features, Mapping[str, Tensor], int, Sequence[int]], Sequence[float]],
        bars: Mapping[int, float],
        trials: int,
    ) -> None:
        self._look, self._bars = look, dict(bars)
        self.curves: list[dict[int, float]] = [{} for _ in range(trials)]
        self.pruned = [False] * trials

    def see(self, features: Features, state: Mapping[str, Tensor], epochs: int) -> None:
        """Look at the trials that go on."""
        live = [trial for trial, pruned in enumerate(self.pruned) if not pruned]
        for trial, loss in zip(live, self._look(features, state, epochs, live), strict=True):
            self.curves[trial][epochs] = loss
            # what is not a number is not at most the bar
            self.pruned[trial] = not loss <= self._bars.get(epochs, float("inf"))


@final
class Rungs(pl.Callback):
    """After some epochs, asks for the inner loss of each trial at the best state so far.

    A member whose trials are all given up stops. Nothing is drawn at random on the way, so that a
    trial that goes on is what it would have been.

    Parameters
    ----------
    epochs
        Numbers of epochs after which trials are looked at.
    watches
        One for each member of the stack.
    """

    def __init__(self, epochs: Sequence[int], watches: Sequence[Watch]) -> None:
        self._epochs, self._watches = frozenset(epochs), watches

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the trials if it is time."""
        done = trainer.current_epoch + 1
        if done not in self._epochs or not isinstance(pl_module, StackModule):
            return
        bound = trainer.train_dataloader.dataset.bound  # type: ignore[union-attr]
        for row, member in enumerate(pl_module.running):
            watch = self._watches[member]
            watch.see(bound[row].features, pl_module.best_states[member], done)
            if all(watch.pruned):
                pl_module.stopped_m[member] = True
        if all(pl_module.stopped_m):
            trainer.should_stop = True
