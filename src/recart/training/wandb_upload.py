"""Sends W&B's offline runs to a server, in a process of its own and within a time.

Run as a module, it calls `wandb sync` on the folders that it is given, and ends it with itself when
nothing moves any more or who started it is gone. W&B writes logs of it, with the user's name and
whole paths in them, into the working directory: it works in the run's logs, and they are removed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, final

__all__ = ["Uploads"]

_EVERY: Final = 300.0  # seconds between uploads while members train
_LOOK: Final = 0.2  # seconds between looks


@final
class Uploads:
    """Runs that wait to be sent.

    Parameters
    ----------
    folder
        Of the run's logs, for W&B's own files.
    patience
        Seconds without a run that was taken in, after which a server counts as gone.
    say
        Given a line if runs could not be sent.
    online
        Whether anything is sent at all.
    """

    def __init__(
        self, folder: Path, patience: float, say: Callable[[str], None], *, online: bool
    ) -> None:
        self._folder = folder
        self._patience = patience
        self._say = say
        self._online = online
        self._waiting: list[Path] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._started = time.monotonic()

    def send(self, place: Path) -> None:
        """Send a finished run, with others that end soon."""
        if not self._online:
            return
        self._waiting.append(place.absolute())
        idle = self._process is None or self._process.poll() is not None
        if idle and time.monotonic() - self._started > _EVERY:
            self._start()

    def close(self) -> None:
        """Send what waits, and wait for it as long as the server takes something in."""
        if self._process is not None:
            self._process.wait()
        if not self._unsent():
            return
        self._start().wait()
        if lacking := self._unsent():
            self._say(
                f"Weights & Biases did not take in {len(lacking)} of {len(self._waiting)} runs: "
                "its server did not answer, or refused them. The training is not touched by it; "
                f"`wandb sync {os.path.relpath(self._folder)}/wandb/offline-run-*` sends them later"
            )

    def _unsent(self) -> list[Path]:
        return [place for place in self._waiting if not _taken_in(place)]

    def _start(self) -> subprocess.Popen[bytes]:
        self._started = time.monotonic()
        folder = str(self._folder.absolute())
        own = [str(self._patience), folder, *map(str, self._unsent())]
        command = [sys.executable, "-m", __name__, *own]
        places = ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR")
        kept = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        environment = {
            **kept,
            **dict.fromkeys(places, folder),
            "WANDB_ERROR_REPORTING": "false",
        }
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self._process


def _taken_in(place: Path) -> bool:
    """W&B leaves a mark beside what it has sent."""
    return any(place.glob("*.wandb.synced"))


def _sync(patience: float, folder: Path, places: Sequence[Path]) -> None:
    """Call `wandb sync`; end it when nothing moves for `patience` seconds or the parent is gone."""
    parent = os.getppid()
    # a session of its own: W&B starts processes that are to end with it
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "wandb", "sync", *map(str, places)],
        cwd=folder,
        start_new_session=True,
    )
    sent, since = 0, time.monotonic()
    try:
        while process.poll() is None and time.monotonic() - since < patience:
            if os.getppid() != parent:
                break
            if (now := sum(map(_taken_in, places))) != sent:
                sent, since = now, time.monotonic()
            time.sleep(_LOOK)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _remove_logs(folder / "wandb")


def _remove_logs(place: Path) -> None:
    for log in place.glob("debug-*.log"):
        log.unlink(missing_ok=True)
    shutil.rmtree(place / "logs", ignore_errors=True)


if __name__ == "__main__":
    _sync(float(sys.argv[1]), Path(sys.argv[2]), [Path(place) for place in sys.argv[3:]])
