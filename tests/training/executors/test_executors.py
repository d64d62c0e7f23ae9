"""What every executor keeps to; found by discovery."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from recart.training import executors
from recart.training.executors.executor import Executor, Job

pytestmark = pytest.mark.slow  # processes import torch: seconds, once

for found in pkgutil.iter_modules(executors.__path__):
    importlib.import_module(f"{executors.__name__}.{found.name}")
MAKE: dict[str, Callable[[], Executor]] = {
    own.__name__: (partial(own, 2) if own.__name__ == "LocalProcesses" else own)
    for own in Executor.__subclasses__()
}


@pytest.fixture(params=sorted(MAKE))
def executor(request: pytest.FixtureRequest) -> Executor:
    return MAKE[request.param]()


def job(name: str, work: Any, *arguments: Any) -> Job:
    return Job(name=name, work=partial(work, *arguments))


def test_both_are_found() -> None:
    assert {"InProcess", "LocalProcesses"} <= set(MAKE)


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
