"""Lightning trainers for jobs: what the user sets, and what recart needs to be so."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

__all__ = ["TrainerSettings", "quiet_lightning"]


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """`accelerator`, `devices` and `precision` as in Lightning's Trainer."""

    accelerator: str
    devices: int | str
    precision: str
    deterministic: bool

    def make(
        self, epochs: int, loggers: Sequence[Any], callbacks: Sequence[pl.Callback], folder: Path
    ) -> pl.Trainer:
        """A trainer that validates after every epoch and leaves checkpoints to recart."""
        return pl.Trainer(
            max_epochs=epochs,
            accelerator=self.accelerator,
            devices=self.devices,
            precision=self.precision,  # type: ignore[arg-type]
            deterministic=self.deterministic,
            logger=list(loggers) or False,
            callbacks=list(callbacks),
            default_root_dir=folder,
            enable_checkpointing=False,  # the best state is kept per member, not per trainer
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hide Lightning's notes on hardware and loaders, which users of recart can't act on."""
    import logging

    lightning_logger = logging.getLogger("lightning.pytorch")
    level = lightning_logger.level
    lightning_logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*training_step.*returned.*None.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            yield
    finally:
        lightning_logger.setLevel(level)
