"""Fits a stack so that it can be killed: states are written on the way, and the newest goes on."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import replace
from typing import Any, Final, final

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader

from recart.contracts import CellBatch
from recart.interruption import Interrupted, Postponed
from recart.training.module import StackModule
from recart.training.states import JobStates
from recart.training.training_state import (
    put_at,
    restore,
    results_of,
    state_of,
    steps_so_far,
    take_results,
)

__all__ = ["StateKeeping", "fit"]

_SHARE: Final = 0.01  # of the time, at most, that goes into states


def fit(
    trainer: pl.Trainer,
    module: StackModule,
    train: DataLoader[CellBatch],
    validation: DataLoader[CellBatch],
    *,
    writes: bool = True,
) -> None:
    """`trainer.fit`, which goes on from the newest of the module's states where there are any.

    When the process is asked to stop, a step is finished and a state written first.

    Parameters
    ----------
    trainer, module, train, validation
        As for Lightning.
    writes
        False where another process of the same training writes the states.
    """
    states = module.states
    if states is not None:
        device = trainer.strategy.root_device.type
        states = replace(states, belongs={**states.belongs, "device": device})
    found = None if states is None else states.newest()
    if found is not None and found["finished"]:
        take_results(module, found["results"])
        return
    keeping = StateKeeping(states, found, writes=writes)
    trainer.callbacks.append(keeping)  # type: ignore[attr-defined]
    try:
        trainer.fit(module, train, validation)
    except Interrupted as stop:
        if keeping.asked == stop.number:
            signal.raise_signal(stop.number)  # to who hears it outside of a training
        raise
    except SIGTERMException:  # heard by Lightning, before this training listened
        signal.raise_signal(signal.SIGTERM)
        raise
    except SystemExit:
        if trainer.interrupted:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from None
        raise
    if states is not None and writes:
        states.write(_ended(module), 1 + max(row["epoch"] for row in module.history), 0)
    asked = signal.SIGTERM if trainer.received_sigterm else keeping.asked
    if asked is not None:
        signal.raise_signal(asked)


@final
class StateKeeping(pl.Callback):
    """Writes states between steps and after epochs, and puts one back at the start.

    Where several processes share each minibatch, sums of an epoch are spread over them: there,
    states are written after epochs only.

    Parameters
    ----------
    states
        Where they are written; None leaves it at finishing the step when it is asked to stop.
    found
        The state that the training goes on from; None begins it.
    writes
        Whether this process writes states.
    """

    def __init__(
        self, states: JobStates | None, found: dict[str, Any] | None, *, writes: bool
    ) -> None:
        self.states = states
        self.found = found
        self.writes = writes
        self._postponed = Postponed()
        self._first = 0  # steps of this epoch that were taken before
        self._before = (0, 0)
        self._last = self._cost = 0.0

    @property
    def asked(self) -> int | None:
        """Signal that has asked this process to stop while it trained."""
        return self._postponed.asked

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Begin with the right epoch."""
        if self.found is not None:
            put_at(trainer, self.found)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the state back, and listen to signals from here on."""
        if self.found is not None:
            restore(trainer, _own(pl_module), self.found)
            self._first = self.found["step"]
        if trainer.world_size == 1:
            self._postponed.open()
        elif threading.current_thread() is threading.main_thread():  # else others hear signals
            # one process that waits for the others would not come to a step's end
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._last = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Leave out the steps that were taken before."""
        self._before = steps_so_far(trainer)
        trainer.train_dataloader.dataset.begin_at(self._first)  # type: ignore[union-attr]

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,  # noqa: ARG002
        pl_module: pl.LightningModule,
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Go on adding to the sums of an epoch that was begun."""
        if self.found is not None and batch_idx == 0:
            module = _own(pl_module)
            module.train_sum = {
                name: own.to(module.device) for name, own in self.found["sums"].items()
            }
            self.found = None

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """A state, where it is time for one or the process is asked to stop."""
        if batch_idx >= self._first and trainer.world_size == 1:
            self._at(trainer, pl_module, trainer.current_epoch, batch_idx + 1)
        elif self.asked is not None:  # the state that was found is still to be reached
            raise Interrupted(self.asked)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Validation changes nothing: it is run again after a stop."""
        if self.asked is not None:
            steps = trainer.num_training_batches
            self._at(trainer, pl_module, trainer.current_epoch, int(steps))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The epoch counts, its results with it."""
        self._first = 0
        self._before = steps_so_far(trainer)
        self._at(trainer, pl_module, trainer.current_epoch + 1, 0)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Signals are heard by others again."""
        self._postponed.close()

    def on_exception(
        self,
        trainer: pl.Trainer,  # noqa: ARG002
        pl_module: pl.LightningModule,  # noqa: ARG002
        exception: BaseException,  # noqa: ARG002
    ) -> None:
        """Signals are heard by others again."""
        self._postponed.close()

    def _at(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, epoch: int, step: int
    ) -> None:
        states = self.states
        if states is not None and self.writes and (self.asked is not None or self._due(states)):
            started = time.monotonic()
            module = _own(pl_module)
            module.ask_finite()  # no state holds what is not finite
            if epoch >= (trainer.max_epochs or 0) or all(module.stopped_m):
                content = _ended(module)
            else:
                content = {
                    "finished": False,
                    **state_of(trainer, module, epoch, step, self._before),
                }
            states.write(content, epoch, step)
            self._last = time.monotonic()
            self._cost = self._last - started
        if self.asked is not None:
            raise Interrupted(self.asked)

    def _due(self, states: JobStates) -> bool:
        pause = max(states.every, self._cost / _SHARE) if states.every else 0.0
        return time.monotonic() - self._last >= pause


def _ended(module: StackModule) -> dict[str, Any]:
    """The state of a training that has nothing left to do."""
    return {"finished": True, "results": results_of(module)}


def _own(module: pl.LightningModule) -> StackModule:
    if not isinstance(module, StackModule):
        raise TypeError(f"states are of a StackModule, not of a {type(module).__name__}")
    return module
