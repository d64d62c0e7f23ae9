"""A small file that says how far a run is, for whoever looks from another terminal."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

from recart.problems import InputError
from recart.training.atomic_files import write_atomically
from recart.training.epoch_reports import EpochReport, EpochWatcher

__all__ = ["HEARTBEAT", "Heartbeat", "process_began"]

HEARTBEAT: Final = "progress.json"
SCHEMA: Final = 1
_PAUSE: Final = 1.0  # seconds between writings, at least


@dataclass
class _Beat:
    """One job: epochs that this process has seen of it, first and last, and when."""

    members: int
    stopped: int = 0
    first_epoch: int | None = None
    first_at: float = 0.0
    epoch: int | None = None
    at: float = 0.0
    ended: bool = False


@final
class Heartbeat(EpochWatcher):
    """Writes `progress.json` into a run's folder: jobs, their epochs, rate and time left.

    It names jobs, which name members or trials: no patient, sample or path. It is replaced as a
    whole, at most once a second; a disk that is full costs it a beat, not the run its life.

    Parameters
    ----------
    folder
        The run's.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / HEARTBEAT
        self._jobs: dict[str, _Beat] = {}
        self._epochs = self._spent = 0
        self._started = self._written = 0.0

    def start(self, members: Mapping[str, int], epochs: int) -> None:
        """Write that jobs begin."""
        self._jobs = {name: _Beat(members=count) for name, count in members.items()}
        self._epochs, self._spent, self._started = epochs, 0, time.time()
        self._write(ended=False)

    def advance(self, job: str, report: EpochReport) -> None:
        """Take in one more epoch of a job."""
        own, now = self._jobs[job], time.time()
        self._spent += own.members - own.stopped
        if own.first_epoch is None:
            own.first_epoch, own.first_at = report.epoch, now
        own.epoch, own.at, own.stopped = report.epoch, now, report.members_done
        if time.monotonic() - self._written >= _PAUSE:
            self._write(ended=False)

    def end(self, job: str) -> None:
        """The job has ended; its members' files say how."""
        self._jobs[job].ended = True
        self._write(ended=False)

    def stop(self) -> None:
        """Nothing runs any more."""
        self._write(ended=True)

    def _write(self, *, ended: bool) -> None:
        content = {
            "schema": SCHEMA,
            "process": os.getpid(),
            "began": process_began(os.getpid()),
            "host": socket.gethostname(),
            "started": self._started,
            "updated": time.time(),
            "ended": ended,
            "epochs": self._epochs,
            "jobs": {name: asdict(own) for name, own in self._jobs.items()},
            **self._rate(),
        }
        with suppress(InputError, OSError):
            write_atomically(self._path, json.dumps(content).encode(), durable=False)
        self._written = time.monotonic()

    def _rate(self) -> dict[str, Any]:
        """Epochs a second, a member each, and seconds left at most."""
        spent = time.time() - self._started
        if not self._spent or spent <= 0:
            return {"rate": None, "left": None}
        rate = self._spent / spent
        left = sum(self._left(own) for own in self._jobs.values())
        return {"rate": rate, "left": left / rate}

    def _left(self, own: _Beat) -> int:
        reached = 0 if own.epoch is None else own.epoch + 1
        return 0 if own.ended else (own.members - own.stopped) * (self._epochs - reached)


def process_began(number: int) -> int | None:
    """When a process of this machine began, in ticks: tells it from a later one of its number."""
    try:
        text = Path("/proc", str(number), "stat").read_text()
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])
