"""What every executor keeps to; found by discovery."""

from __future__ import annotations

import importlib
import math
import os
import pkgutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recart.training import executors
from recart.training.epoch_reports import EpochReport
from recart.training.executors.executor import Elsewhere, Executor, Job
from recart.training.executors.in_process import InProcess
from recart.training.executors.local_processes import LocalProcesses
from recart.training.executors.ray_cluster import RayCluster
from recart.training.executors.slurm import Slurm

pytestmark = pytest.mark.slow  # processes import torch: seconds, once

for found in pkgutil.iter_modules(executors.__path__):
    importlib.import_module(f"{executors.__name__}.{found.name}")
FOUND = sorted(own.__name__ for own in Executor.__subclasses__())
Make = Callable[[], Executor]


@pytest.fixture(params=FOUND)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes an executor of two places, where it has any choice."""
    if request.param == "RayCluster":
        return partial(RayCluster, request.getfixturevalue("two_machines"), 1, 0, None)
    if request.param == "Slurm":
        here = os.environ.get("PYTHONPATH", "")
        paths = os.pathsep.join(filter(None, [str(Path(__file__).parent), here]))
        request.getfixturevalue("monkeypatch").setenv("PYTHONPATH", paths)
        return partial(Slurm, str(tmp_path / "slurm"), "local", 2, 60, 1, 1, 0, {})
    return {"InProcess": InProcess, "LocalProcesses": partial(LocalProcesses, 2)}[request.param]


@pytest.fixture
def executor(make: Make) -> Executor:
    return make()


@pytest.fixture
def apart(executor: Executor) -> Executor:
    """One whose jobs are processes of their own."""
    if isinstance(executor, InProcess):
        pytest.skip("its jobs live and die with this process")
    return executor


def job(name: str, work: Any, *arguments: Any) -> Job:
    return Job(name=name, work=partial(work, *arguments))


def test_all_are_found() -> None:
    assert FOUND == ["InProcess", "LocalProcesses", "RayCluster", "Slurm"]


def test_it_says_how_many_run_and_where(executor: Executor) -> None:
    places, elsewhere = executor.places, executor.elsewhere
    assert places == (1 if isinstance(executor, InProcess) else 2)
    if isinstance(executor, RayCluster):
        assert elsewhere == Elsewhere(gpus=0, jobs=1)  # of two machines, each has one
    elif isinstance(executor, Slurm):
        assert elsewhere == Elsewhere(gpus=0, jobs=2)
    else:
        assert elsewhere is None


def test_values_and_reports_come_with_their_jobs(executor: Executor, errands: ModuleType) -> None:
    said: list[tuple[str, str]] = []
    jobs = [job(f"j{i}", errands.double, i) for i in range(5)]
    outcomes = list(executor.run(jobs, lambda own, what: said.append((own.name, what))))
    assert {own.job.name: own.value for own in outcomes} == {f"j{i}": 2 * i for i in range(5)}
    assert all(own.failure is None for own in outcomes)
    assert sorted(said) == [(f"j{i}", f"doubling {i}") for i in range(5)]


def test_a_failure_is_told_and_the_others_go_on(executor: Executor, errands: ModuleType) -> None:
    said: list[str] = []
    jobs = [
        job("a", errands.double, 1),
        Job(name="b", work=errands.refuse),
        job("c", errands.double, 3),
    ]
    outcomes = {own.job.name: own for own in executor.run(jobs, lambda _, what: said.append(what))}
    assert (outcomes["a"].value, outcomes["c"].value) == (2, 6)
    failure = outcomes["b"].failure
    assert failure is not None
    assert str(failure) == "ValueError: no such thing / as a free lunch"
    assert "errands.py" in failure.trace
    assert "about to refuse" in said


def test_jobs_are_taken_when_a_place_is_free(executor: Executor, errands: ModuleType) -> None:
    """A sweep decides the next job on what came back."""
    back: list[int] = []
    known: list[int] = []

    def jobs() -> Iterator[Job]:
        for i in range(6):
            known.append(len(back))
            yield job(f"j{i}", errands.double, i)

    with closing(executor.run(jobs(), lambda *_: None)) as outcomes:
        for outcome in outcomes:
            back.append(outcome.value)
    assert sorted(back) == [0, 2, 4, 6, 8, 10]
    # job i was taken when at least i + 1 - places others had come back
    assert all(seen >= i - executor.places for i, seen in enumerate(known))
    assert known[-1] >= 6 - 1 - executor.places


def test_no_jobs_are_no_work(executor: Executor) -> None:
    assert list(executor.run([], lambda *_: None)) == []


def test_outcomes_come_in_the_order_in_which_jobs_end(
    apart: Executor, errands: ModuleType, tmp_path: Path
) -> None:
    jobs = [
        job("waits", errands.wait_for, str(tmp_path)),
        job("frees", errands.free, str(tmp_path)),
    ]
    assert [own.job.name for own in apart.run(jobs, lambda *_: None)] == ["frees", "waits"]


@pytest.mark.parametrize(
    ("work", "arguments"), [("die", (signal.SIGKILL,)), ("die", (signal.SIGSEGV,)), ("leave", (3,))]
)
def test_a_death_is_its_jobs_alone(
    work: str, arguments: tuple[Any, ...], apart: Executor, errands: ModuleType
) -> None:
    said: list[Any] = []
    jobs = [
        job("a", errands.double, 1),
        job("b", getattr(errands, work), *arguments),
        job("c", errands.double, 3),
        job("d", errands.double, 4),
    ]
    outcomes = {own.job.name: own for own in apart.run(jobs, lambda _, what: said.append(what))}
    assert str(outcomes["b"].failure).startswith("its ")  # process, worker or job ended, and how
    assert [outcomes[name].value for name in "acd"] == [2, 6, 8]
    assert ("last words" in said) is (work == "die")


def test_closing_the_generator_ends_jobs(
    apart: Executor, errands: ModuleType, tmp_path: Path
) -> None:
    jobs = [job("short", errands.double, 1), job("long", errands.sleep, str(tmp_path))]
    with closing(apart.run(jobs, lambda *_: None)) as outcomes:
        assert next(outcomes).value == 2
        until = time.monotonic() + 300
        while not list(tmp_path.glob("[0-9]*")) and time.monotonic() < until:
            time.sleep(0.05)
    (pid,) = [int(path.name) for path in tmp_path.glob("[0-9]*")]
    until = time.monotonic() + 120
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
    assert not list((tmp_path / "slurm").glob("*"))  # nothing is left of what was submitted


def test_epochs_come_back_as_they_were_sent(executor: Executor, errands: ModuleType) -> None:
    said: list[Any] = []
    list(executor.run([job("a", errands.epochs)], lambda _, what: said.append(what)))
    assert [own.epoch for own in said] == [0, 1]
    assert all(isinstance(own, EpochReport) for own in said)
    assert said[0].means == {"members_done": 0.0, "validation/rna": 0.1 + 0.2}
    assert math.isnan(said[1].means["validation/rna"])


def test_the_same_executor_runs_twice(executor: Executor, errands: ModuleType) -> None:
    for _ in range(2):
        outcomes = list(executor.run([job("a", errands.double, 4)], lambda *_: None))
        assert [own.value for own in outcomes] == [8]
