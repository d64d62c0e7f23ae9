"""SLURM: what is asked of it, what is said where there is none, who ends jobs."""

from __future__ import annotations

import importlib.util
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recart.config.build import build
from recart.config.compose import compose
from recart.problems import InputError
from recart.training.executors.executor import Job
from recart.training.executors.slurm import Slurm

# Stands where SLURM's sbatch would: it keeps the script that it is given.
SBATCH = """#!/bin/sh
cp "$1" "{folder}/script.sh"
echo Submitted batch job 4711
"""


def local(folder: Path, places: int = 1) -> Slurm:
    return Slurm(str(folder), "local", places, 60, 1, 1, 0, {})


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands that submitit finds; a script that is submitted lies in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sbatch", "srun", "sacct", "scancel"):
        text = SBATCH.format(folder=folder) if name == "sbatch" else "#!/bin/sh\n"
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_the_submission_script_asks_for_what_the_configuration_says(
    sbatch: Path, tmp_path: Path
) -> None:
    config = compose(
        [
            "executor=slurm",
            "executor.minutes=90",
            "executor.memory_gb=12",
            "executor.cpus=3",
            "executor.gpus=1",
            "executor.options.partition=short",
            "executor.options.account=lab-7",
            "+executor.options.nice=100",
            f"paths.prepared={tmp_path / 'prepared'}",
        ]
    )
    executor = build(config.executor)
    place = tmp_path / "place"
    place.mkdir()
    submitted = executor.submitter(place).submit(print, "x")
    assert submitted.job_id == "4711"
    script = (sbatch / "script.sh").read_text()
    asked = {line.removeprefix("#SBATCH --") for line in script.splitlines() if "#SBATCH" in line}
    assert asked >= {
        "time=90",
        "mem=12GB",
        "cpus-per-task=3",
        "gpus-per-node=1",
        "partition=short",
        "account=lab-7",
        "nice=100",
        "nodes=1",
        "job-name=recart",
    }
    command = script.splitlines()[-1]
    assert command.startswith("srun ")
    assert f"{sys.executable} -u -m submitit.core._submit {place}" in command
    # the script names no argument, and nothing of the job: that lies in the folder
    assert "print" not in script
    assert executor.folder == str(tmp_path / "prepared" / "slurm")


def test_without_slurm_the_mend_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"E-JOB-006.*no srun.*executor.cluster=local"):
        build(compose(["executor=slurm"]).executor)


@pytest.mark.parametrize(("group", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_without_its_extra_the_mend_is_said(
    group: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else found(name)
    )
    with pytest.raises(InputError, match=rf"E-JOB-003.*pip install -e '\.\[{group}\]'"):
        build(compose([f"executor={group}"]).executor)


def test_what_can_not_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cluster pbs; use one of slurm, local"):
        Slurm(str(tmp_path), "pbs", 1, 60, 1, 1, 0, {})
    with pytest.raises(ValueError, match="at_once=0"):
        local(tmp_path, 0)
    for minutes, memory, cpus, gpus in (
        (0, 1, 1, 0),
        (60, -1, 1, 0),
        (60, 1, 0, 0),
        (60, 1, 1, -1),
    ):
        with pytest.raises(ValueError, match="more is needed"):
            Slurm(str(tmp_path), "local", 1, minutes, memory, cpus, gpus, {})


@pytest.mark.slow  # processes import torch: seconds
def test_what_is_submitted_is_its_owners_alone(
    tmp_path: Path, errands: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    modes: list[int] = []

    def look(*_: Any) -> None:
        (place,) = tmp_path.iterdir()
        modes.append(stat.S_IMODE(place.stat().st_mode))

    job = Job(name="a", work=partial(errands.double, 3))
    assert [own.value for own in local(tmp_path).run([job], look)] == [6]
    assert modes == [0o700]
    assert list(tmp_path.iterdir()) == []


SCRIPT = """
import sys
from functools import partial
import errands
from recart.training.executors.executor import Job
from recart.training.executors.slurm import Slurm

Slurm.lease = 3.0
executor = Slurm(sys.argv[1], "local", 1, 60, 1, 1, 0, {})
list(executor.run([Job(name="a", work=partial(errands.sleep, sys.argv[2]))], print))
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Starts a script with a job that sleeps; its process, and the job's number."""
    began: list[subprocess.Popen[bytes]] = []

    def start() -> tuple[subprocess.Popen[bytes], int]:
        pids = tmp_path / "pids"
        pids.mkdir()
        (tmp_path / "script.py").write_text(SCRIPT)
        paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
        process = subprocess.Popen(
            [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "slurm"), str(pids)],
            env={**os.environ, "PYTHONPATH": paths},
            stderr=subprocess.DEVNULL,
        )
        began.append(process)
        until = time.monotonic() + 300
        while not list(pids.iterdir()) and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.05)
        (pid,) = [int(path.name) for path in pids.iterdir()]
        return process, pid

    yield start
    for process in began:
        process.kill()
        process.wait()


@pytest.mark.slow  # as above
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_ends_itself_when_its_driver_is_gone(number: int, started: Callable[[], Any]) -> None:
    process, pid = started()
    assert Path(f"/proc/{pid}").exists()
    process.send_signal(number)
    process.wait(120)
    until = time.monotonic() + 120
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()
