"""Processes: how they are started, how they die, and that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recart.training.executors.executor import Job, Outcome
from recart.training.executors.local_processes import _GRACE, LocalProcesses

pytestmark = pytest.mark.slow  # processes import torch: seconds, once

SCRIPT = """
import signal
import sys
from functools import partial
import errands
from recart.training.executors.executor import Job
from recart.training.executors.local_processes import LocalProcesses

# a shell starts what runs in its background with Ctrl-C ignored, the tests among it
signal.signal(signal.SIGINT, signal.default_int_handler)
jobs = [Job(name=str(i), work=partial(getattr(errands, sys.argv[2]), sys.argv[1])) for i in (0, 1)]
list(LocalProcesses(2).run(jobs, print))  # without a guard, as a notebook's script
"""


def run(*jobs: Job) -> dict[str, Outcome]:
    return {own.job.name: own for own in LocalProcesses(2).run(jobs, lambda *_: None)}


def alive(pid: int) -> bool:
    """A process that nobody has waited for yet counts: it would be a zombie."""
    return Path(f"/proc/{pid}").exists()


def gone(pids: list[int], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(map(alive, pids)):
            return True
        time.sleep(0.05)
    return False


def test_a_process_has_one_thread_and_not_the_users_script(errands: ModuleType) -> None:
    before = dict(os.environ)
    found = run(*(Job(name=str(i), work=errands.surroundings) for i in (0, 1)))
    for outcome in found.values():
        own = outcome.value
        assert (own["threads"], own["omp"]) == (1, "1")
        assert own["main"] is None or "pytest" not in own["main"]
        assert own["heavy"] == []
        assert own["pid"] != os.getpid()
    assert dict(os.environ) == before
    assert gone([own.value["pid"] for own in found.values()], 60)


@pytest.mark.parametrize(
    ("work", "arguments", "how"),
    [
        ("die", (signal.SIGKILL,), "its process was ended by SIGKILL: often a sign that memory"),
        ("die", (signal.SIGSEGV,), "its process was ended by SIGSEGV"),
        ("leave", (3,), "its process ended with exit code 3"),
        ("leave", (0,), "its process ended with exit code 0"),
    ],
)
def test_a_death_is_named_and_the_others_go_on(
    work: str, arguments: tuple[Any, ...], how: str, errands: ModuleType
) -> None:
    outcomes = run(
        Job(name="a", work=partial(errands.double, 1)),
        Job(name="b", work=partial(getattr(errands, work), *arguments)),
        Job(name="c", work=partial(errands.double, 3)),
        Job(name="d", work=partial(errands.double, 4)),
    )
    assert str(outcomes["b"].failure).startswith(how)
    assert [outcomes[name].value for name in "acd"] == [2, 6, 8]


def test_a_generator_that_is_closed_ends_its_processes(errands: ModuleType, tmp_path: Path) -> None:
    jobs = [
        Job(name="short", work=partial(errands.double, 1)),
        Job(name="long", work=partial(errands.sleep, str(tmp_path))),
    ]
    with closing(LocalProcesses(2).run(jobs, lambda *_: None)) as outcomes:
        assert next(outcomes).value == 2
        until = time.monotonic() + 300
        while not list(tmp_path.iterdir()) and time.monotonic() < until:
            time.sleep(0.05)
    (pid,) = [int(path.name) for path in tmp_path.iterdir()]
    assert not alive(pid)


def test_less_than_one_process_is_refused() -> None:
    with pytest.raises(ValueError, match="0 processes"):
        LocalProcesses(0)


@pytest.fixture
def started(tmp_path: Path) -> Any:
    """A script that has two jobs running: its process, and theirs."""
    began: list[subprocess.Popen[bytes]] = []

    def start(work: str) -> tuple[subprocess.Popen[bytes], list[int]]:
        script, pids = tmp_path / "script.py", tmp_path / "pids"
        script.write_text(SCRIPT)
        pids.mkdir()
        paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
        process = subprocess.Popen(
            [sys.executable, str(script), str(pids), work],
            env={**os.environ, "PYTHONPATH": paths},
            stderr=subprocess.DEVNULL,
        )
        began.append(process)
        until = time.monotonic() + 300
        while len(list(pids.iterdir())) < 2 and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.05)
        return process, [int(path.name) for path in pids.iterdir()]

    yield start
    for process in began:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("number", "work", "code"),
    [
        (signal.SIGINT, "sleep", -signal.SIGINT),
        (signal.SIGTERM, "sleep", 128 + signal.SIGTERM),
        (signal.SIGINT, "last", -signal.SIGINT),
        (signal.SIGKILL, "last", -signal.SIGKILL),
    ],
)
def test_no_process_outlives_its_parent(
    number: int, work: str, code: int, started: Callable[[str], Any]
) -> None:
    process, pids = started(work)
    assert len(pids) == 2
    assert all(map(alive, pids))
    process.send_signal(number)
    assert process.wait(_GRACE + 120) == code
    assert gone(pids, 60)
