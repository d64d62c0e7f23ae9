"""The head start of member processes."""

from __future__ import annotations

import gc
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from recart.config.compose import compose
from recart.training import head_start as module
from recart.training.executors.local_processes import LocalProcesses
from recart.training.head_start import collector_at_rest, head_start


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(LocalProcesses, "prepare", lambda *_: said.append("prepare"))
    monkeypatch.setattr(LocalProcesses, "forget", lambda *_: said.append("forget"))
    monkeypatch.setattr(module, "_DRIVER", Path("/nowhere"))
    return said


def test_it_begins_and_is_ended_only_where_the_run_fails(prepared: list[str]) -> None:
    config = compose(["executor.processes=2"])
    with head_start(config):
        assert prepared == ["prepare"]
    assert prepared == ["prepare"]
    with pytest.raises(KeyError), head_start(config):
        raise KeyError
    assert prepared == ["prepare", "prepare", "forget"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["executor=in_process"],
        ["executor.processes=1"],
        ["executor.processes=2", "trainer.accelerator=gpu"],
        ["executor.processes=2", "trainer.devices=2"],
        ["executor.processes=0"],
    ],
)
def test_processes_that_are_not_needed_are_not_begun(
    overrides: list[str], prepared: list[str]
) -> None:
    with head_start(compose(overrides)):
        pass
    assert prepared == []


def test_a_graphics_card_is_left_to_who_asks_torch(
    prepared: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DRIVER", tmp_path)
    with head_start(compose(["executor.processes=2"])):
        pass
    assert prepared == []


def test_the_collector_works_again_afterwards() -> None:
    assert gc.isenabled()
    with collector_at_rest():
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.slow
def test_a_server_that_is_not_needed_ends_at_once_and_another_can_be_started() -> None:
    executor = LocalProcesses(2)
    executor.prepare(["torch"])
    server: Any = forkserver
    first = server._forkserver._forkserver_pid
    executor.forget()
    executor.prepare(["torch"])
    assert server._forkserver._forkserver_pid not in (None, first)
