"""Lightning trainers for jobs: what the user sets, and what recart needs to be so."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recart.problems import InputError, Problem
from recart.training.stack_size import on_gpu

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from recart.training.executors.ray_train import RayTrain

__all__ = ["TrainerSettings", "quiet_lightning"]

_STRATEGIES: Final = ("auto", "dealt", "ddp")
# Lightning's own names; Lightning takes seconds to import, and is not for configuration
_ACCELERATORS: Final = ("auto", "cpu", "gpu", "cuda", "mps", "tpu")
_PRECISIONS: Final = (
    *("32-true", "64-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true"),
    *("32", "64", "16", "bf16", "transformer-engine", "transformer-engine-float16"),
)
# Number of processes that a launcher has started with this one's command, by variable.
_LAUNCHERS: Final = {"WORLD_SIZE": "torchrun", "SLURM_STEP_NUM_TASKS": "srun"}


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """`accelerator`, `devices` and `precision` as in Lightning's Trainer.

    `strategy` says what several devices are for. `dealt` gives each device members of the stack;
    they never talk. `ddp` gives each device cells of every minibatch, and averages gradients.
    `auto` is `ddp` for a member alone, else `dealt`. Processes are started by recart itself, on the
    machines of `cluster` where there is one, which is set by recart too.

    `checkpoint_every` is seconds between states that a training writes so that it can be killed; 0
    writes one after every step. Whatever it is, writing takes a hundredth of the time at most.

    Raises
    ------
    ValueError
        If a name is none of Lightning's or of these, there is no such number of devices, the time
        is negative, or this process is one of several that a launcher has started with the same
        command.
    """

    accelerator: str
    devices: int | str
    precision: int | str
    deterministic: bool
    strategy: str = "auto"
    checkpoint_every: float = 30.0
    cluster: RayTrain | None = None

    def __post_init__(self) -> None:
        if not self.checkpoint_every >= 0:
            raise ValueError(f"checkpoint_every={self.checkpoint_every}: seconds, 0 or more")
        for name, own, known in (
            ("strategy", self.strategy, _STRATEGIES),
            ("accelerator", self.accelerator, _ACCELERATORS),
            ("precision", str(self.precision), _PRECISIONS),
        ):
            if own not in known:
                raise ValueError(f"{own!r} is no {name}; it is one of {', '.join(known)}")
        if isinstance(self.devices, int) and (self.devices == 0 or self.devices < -1):
            raise ValueError(f"devices={self.devices}: at least 1, auto, or -1 for all GPUs")
        for name, launcher in _LAUNCHERS.items():
            number = os.environ.get(name, "1")
            if number.isdigit() and int(number) > 1:
                raise ValueError(
                    f"{launcher} has started {number} processes of this command ({name}); start "
                    "it once: it starts a process for each of trainer.devices itself"
                )

    @property
    def on_gpu(self) -> bool:
        """Whether training runs on NVIDIA GPUs."""
        return on_gpu(self.accelerator)

    @property
    def places(self) -> list[int]:
        """Numbers of the devices."""
        if self.devices == 1:
            return [0]
        if self.cluster is not None:
            return list(range(int(self.devices)))  # those of its machines, not of this one
        from lightning.pytorch.accelerators import CPUAccelerator, CUDAAccelerator

        if self.on_gpu:
            return CUDAAccelerator.parse_devices(
                -1 if self.devices == "auto" else self.devices
            ) or [0]
        if self.devices == "auto" or self.accelerator not in ("auto", "cpu"):
            return [0]  # Lightning's choice, which is one device
        return list(range(CPUAccelerator.parse_devices(self.devices)))

    def require_here(self) -> None:
        """Refuse devices that this machine does not have.

        Raises
        ------
        InputError
            Which they are.
        """
        if self.accelerator in ("gpu", "cuda"):
            import torch

            if not torch.cuda.is_available():
                raise _refused("accelerator", self.accelerator, "torch finds no NVIDIA GPU here")
        if self.devices in (1, "auto"):
            return
        from lightning.fabric.utilities.exceptions import MisconfigurationException

        try:
            _ = self.places
        except (TypeError, ValueError, MisconfigurationException) as error:
            raise _refused("devices", self.devices, str(error).strip()) from None

    def make(
        self, epochs: int, loggers: Sequence[Any], callbacks: Sequence[pl.Callback], folder: Path
    ) -> pl.Trainer:
        """A trainer that validates after every epoch and leaves checkpoints to recart.

        With several devices it starts a process for each when it is asked to fit.
        """
        places = self.places
        if len(places) == 1:
            return self._trainer(self.devices, "auto", epochs, loggers, callbacks, folder)
        from recart.training.ranks import Ranks
        from recart.training.strategies import OverDevices

        ranks = Ranks(
            settings=replace(self, cluster=None),
            places=places,
            epochs=epochs,
            callbacks=callbacks,
            folder=folder,
            cluster=self.cluster,
        )
        # callbacks follow the training, which is elsewhere
        here = replace(self, accelerator="cpu", precision="32-true")
        return here._trainer(1, OverDevices(ranks), epochs, loggers, [], folder)

    def make_rank(
        self,
        places: Sequence[int] | str,
        strategy: Any,
        epochs: int,
        loggers: Sequence[Any],
        callbacks: Sequence[pl.Callback],
        folder: Path,
    ) -> pl.Trainer:
        """The trainer of one process; `places` are the devices of all that train together.

        `auto` is the device that the strategy gives.
        """
        devices: str | int | list[int] = "auto"
        if not isinstance(places, str):
            devices = list(places) if self.on_gpu else len(places)
        return self._trainer(devices, strategy, epochs, loggers, callbacks, folder)

    def _trainer(
        self,
        devices: int | str | list[int],
        strategy: Any,
        epochs: int,
        loggers: Sequence[Any],
        callbacks: Sequence[pl.Callback],
        folder: Path,
    ) -> pl.Trainer:
        import lightning.pytorch as pl  # seconds, not for configuration

        return pl.Trainer(
            max_epochs=epochs,
            accelerator=self.accelerator,
            devices=devices,
            strategy=strategy,
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
            use_distributed_sampler=False,  # minibatches are split by `StackBatches`
        )


def _refused(key: str, value: object, why: str) -> InputError:
    problem = Problem(
        code="E-CONFIG-017",
        column=f"trainer.{key}",
        what=f"{value} can't be had: {why}",
        mend="use trainer.accelerator=auto trainer.devices=1, or what this machine has",
    )
    return InputError([problem])


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hide Lightning's notes on hardware and loaders, which users of recart can't act on."""
    import logging

    import lightning.pytorch  # noqa: F401  (sets the level itself when it is first imported)

    lightning_logger = logging.getLogger("lightning.pytorch")
    level = lightning_logger.level
    lightning_logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*training_step.*returned.*None.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            # what is logged is the same in every process
            warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
            yield
    finally:
        lightning_logger.setLevel(level)
