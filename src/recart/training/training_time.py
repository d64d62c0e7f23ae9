"""How long the members of a run took to train and on what: beside the run, in no member's file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from recart.training.atomic_files import write_atomically
from recart.training.executors.cores import allowed_cores
from recart.training.executors.executor import Executor
from recart.training.trainer import TrainerSettings

__all__ = ["TRAINING_TIME", "TrainingTime", "timed", "training_times"]

TRAINING_TIME: Final = "training_time.json"


@dataclass(frozen=True, kw_only=True)
class TrainingTime:
    """One start of `train.py`: seconds on the clock, and the members that were finished in them.

    Attributes
    ----------
    cores
        Cores that this machine's processes could use; others may have worked on them too.
    gpus
        Names of the cards that were used.
    elsewhere
        Class of the executor whose jobs ran on other machines; empty where they ran on this one.
    """

    seconds: float
    members: int
    cores: int
    gpus: tuple[str, ...] = ()
    elsewhere: str = ""


@contextmanager
def timed(
    folder: Path,
    missing: Callable[[], Sized],
    settings: TrainerSettings,
    executor: Executor,
) -> Iterator[None]:
    """Add what is done inside to the times of a run, also where it fails or is interrupted.

    `folder` is the run's, `missing` the members that are not there yet.
    """
    before, started = len(missing()), time.monotonic()
    try:
        yield
    finally:
        own = TrainingTime(
            seconds=round(time.monotonic() - started, 2),
            members=before - len(missing()),
            cores=allowed_cores(),
            gpus=() if executor.elsewhere else _cards(settings),
            elsewhere=type(executor).__name__ if executor.elsewhere else "",
        )
        content = json.dumps([asdict(one) for one in (*training_times(folder), own)], indent=1)
        write_atomically(folder / TRAINING_TIME, content.encode())


def _cards(settings: TrainerSettings) -> tuple[str, ...]:
    """Names of the cards that are trained on."""
    if not settings.on_gpu:
        return ()
    import torch

    return tuple(torch.cuda.get_device_name(place) for place in settings.places)


def training_times(folder: Path) -> tuple[TrainingTime, ...]:
    """Times of a run, in order; none of a run of before they were kept, or that a sweep chose."""
    path = folder / TRAINING_TIME
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return tuple(TrainingTime(**{**own, "gpus": tuple(own["gpus"])}) for own in content)
