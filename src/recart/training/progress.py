"""What a user sees while it runs: lines for steps, a bar for epochs with what matters."""

from __future__ import annotations

import time
from typing import Any, final

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

__all__ = ["TrainingProgress", "say"]

_CONSOLE = Console(stderr=True, soft_wrap=True)
_SHOWN = ("rna", "protein", "kl_z", "receptor")


def say(message: str) -> None:
    """One line to the terminal, with the time."""
    _CONSOLE.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {message}", highlight=False)


@final
class TrainingProgress(pl.Callback):
    """A bar over epochs: members done, loss terms on inner-validation patients, time left.

    Where there is no terminal, a line every `every` epochs says the same.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._started = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Open the bar."""
        self._started = time.monotonic()
        if not _CONSOLE.is_terminal:
            return
        whole = Column(no_wrap=True, min_width=12)  # the bar gives way, not the numbers
        self._progress = Progress(
            TextColumn("epoch {task.completed:.0f}/{task.total:.0f}", table_column=whole),
            BarColumn(bar_width=None),
            TextColumn("{task.description}", table_column=whole),
            console=_CONSOLE,
        )
        self._progress.start()
        self._task = self._progress.add_task("training", total=trainer.max_epochs)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Advance by one epoch."""
        if trainer.sanity_checking:
            return
        epoch = trainer.current_epoch + 1
        text = self._text(trainer, pl_module, epoch)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=epoch, description=text)
        elif epoch % self.every == 0 or trainer.should_stop or epoch == trainer.max_epochs:
            say(f"epoch {epoch}/{trainer.max_epochs}  {text}")

    def teardown(self, *_: object, **__: object) -> None:
        """Close the bar, also after an interruption."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _text(self, trainer: pl.Trainer, pl_module: Any, epoch: int) -> str:
        metrics = trainer.callback_metrics
        terms = [
            f"{name} {float(metrics[f'validation/{name}']):.3g}"
            for name in _SHOWN
            if f"validation/{name}" in metrics and float(metrics[f"validation/{name}"]) != 0
        ]
        done, members = sum(pl_module.stopped_m), len(pl_module.stopped_m)
        spent = time.monotonic() - self._started
        left = spent / epoch * ((trainer.max_epochs or epoch) - epoch)
        return f"{done}/{members} members done  {'  '.join(terms)}  at most {left:.0f} s left"
