"""`train.py` that is killed or asked to stop, and started again with the same command."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from recart.config.compose import config_folder

pytestmark = pytest.mark.slow  # starts train.py a dozen times: minutes

ROOT = config_folder().parent
LONG = ("training.epochs=40", "training.patience=40", "trainer.checkpoint_every=0.3")


class Command:
    """`train.py` on the small cohort, two processes at a time."""

    def __init__(self, place: Any, run: str) -> None:
        self.run = place.folder / run
        self.arguments = place.settings(run, *LONG, "executor.processes=2")

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *self.arguments],
            cwd=self.run.parent,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start_and_wait_for_epochs(self) -> subprocess.Popen[str]:
        process = self.start()
        while process.poll() is None:
            beat = self.beat()
            if beat.get("process") == process.pid and any(
                job["epoch"] is not None for job in beat["jobs"].values()
            ):
                return process
            time.sleep(0.02)
        raise AssertionError(process.communicate()[1])

    def beat(self) -> dict[str, Any]:
        try:
            beat: dict[str, Any] = json.loads((self.run / "progress.json").read_text())
        except (OSError, ValueError):
            return {}
        return beat

    def finish(self) -> str:
        process = self.start()
        said = process.communicate()[1]
        assert process.returncode == 0, said
        return said

    def files(self) -> dict[str, str]:
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (self.run / "checkpoints").glob("*.ckpt")
        }

    def workers(self, process: subprocess.Popen[str]) -> list[psutil.Process]:
        return [
            own for server in psutil.Process(process.pid).children() for own in server.children()
        ]


@pytest.fixture(scope="module")
def unbroken(place: Any) -> dict[str, str]:
    command = Command(place, "unbroken")
    command.finish()
    assert not (command.run / "states").exists()
    return command.files()


def test_killed_again_and_again(place: Any, unbroken: dict[str, str]) -> None:
    """The command and one of its processes by turns, at random times."""
    command, rng = Command(place, "killed"), random.Random(0)
    there: dict[str, str] = {}
    for who in ("driver", "worker"):
        process = command.start_and_wait_for_epochs()
        time.sleep(rng.uniform(0, 1.5))
        workers = command.workers(process)
        if who == "driver":
            os.kill(process.pid, signal.SIGKILL)
        elif workers:
            os.kill(rng.choice(workers).pid, signal.SIGKILL)
        said = process.communicate()[1]
        _, alive = psutil.wait_procs(workers, timeout=120)
        assert not alive
        if who == "worker" and process.returncode:
            assert process.returncode == 2
            assert "SIGKILL" in said
        assert command.files().items() >= there.items(), "a finished member was touched"
        there = command.files()
        if len(there) == len(unbroken):
            break
    command.finish()
    assert command.files() == unbroken
    assert not (command.run / "states").exists()
    assert not list(command.run.rglob(".*.part"))


def test_asked_to_stop(place: Any, unbroken: dict[str, str]) -> None:
    """By each of the signals, one after another in the same run."""
    command = Command(place, "asked")
    for number, name in (
        (signal.SIGINT, "Ctrl-C"),
        (signal.SIGTERM, "SIGTERM"),
        (signal.SIGUSR1, "SIGUSR1"),
    ):
        process = command.start_and_wait_for_epochs()
        workers = command.workers(process)
        asked = time.monotonic()
        process.send_signal(number)
        said = process.communicate()[1]
        assert time.monotonic() - asked < 120
        assert process.returncode == 128 + number
        assert said.splitlines()[-1] == (
            f"stopped by {name}; to go on, run the same command with paths.run=asked"
        )
        assert "Traceback" not in said
        assert not any(own.is_running() for own in workers)
        assert list((command.run / "states").rglob("state-*.bin"))
    status = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), f"status={command.run}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "from which it goes on" in status.stdout
    command.finish()
    assert command.files() == unbroken
