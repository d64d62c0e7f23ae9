"""Looks at trials while their encoder trains, and ends the training when none is good enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import final

import lightning.pytorch as pl
from torch import Tensor

from recart.data.features import Features
from recart.training.module import StackModule

__all__ = ["Rungs"]

Look = Callable[[Features, Mapping[str, Tensor], int], Sequence[float]]


@final
class Rungs(pl.Callback):
    """After some epochs, asks for the inner loss of each trial at the best state so far.

    Nothing is drawn at random on the way, so that a trial that goes on is what it would have been.

    Parameters
    ----------
    epochs
        Numbers of epochs after which trials are looked at.
    bars
        The highest inner loss that may go on, by number of epochs; a trial without one goes on.
    look
        Given features, weights and the number of epochs; returns the inner loss of each trial.

    Attributes
    ----------
    curves
        Inner loss of each trial by number of epochs.
    pruned
        Whether each trial was given up.
    """

    def __init__(
        self, epochs: Sequence[int], bars: Mapping[int, float], trials: int, look: Look
    ) -> None:
        self._epochs, self._bars, self._look = frozenset(epochs), dict(bars), look
        self.curves: list[dict[int, float]] = [{} for _ in range(trials)]
        self.pruned = [False] * trials

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the trials if it is time."""
        done = trainer.current_epoch + 1
        if done not in self._epochs or not isinstance(pl_module, StackModule):
            return
        features = trainer.train_dataloader.dataset.bound[0].features  # type: ignore[union-attr]
        losses = self._look(features, pl_module.best_states[0], done)
        for trial, loss in enumerate(losses):
            if not self.pruned[trial]:
                self.curves[trial][done] = loss
                # what is not a number is not at most the bar
                self.pruned[trial] = not loss <= self._bars.get(done, float("inf"))
        if all(self.pruned):
            pl_module.stopped_m = [True] * len(pl_module.stopped_m)
            trainer.should_stop = True
