"""How many cores may be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recart.training.executors.cores import allowed_cores


def system(root: Path, group: str, quotas: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"12:memory:/x\n0::/{group}\n")
    for folder, quota in quotas.items():
        path = root / "sys/fs/cgroup" / folder
        path.mkdir(parents=True, exist_ok=True)
        (path / "cpu.max").write_text(quota)
    return root


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def test_without_a_quota_it_is_the_affinity(tmp_path: Path) -> None:
    assert allowed_cores(tmp_path) == 8
    assert allowed_cores(system(tmp_path, "a/b", {"a/b": "max 100000\n"})) == 8


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("200000 100000", 2), ("350000 100000", 3), ("50000 100000", 1), ("6400000 100000", 8)],
)
def test_a_quota_counts_in_whole_cores(tmp_path: Path, quota: str, cores: int) -> None:
    assert allowed_cores(system(tmp_path, "job", {"job": quota})) == cores


def test_the_tightest_quota_of_the_groups_above_holds(tmp_path: Path) -> None:
    quotas = {"slice/job": "400000 100000", "slice": "300000 100000", "": "max 100000"}
    assert allowed_cores(system(tmp_path, "slice/job", quotas)) == 3


def test_inside_a_container_the_group_is_the_root(tmp_path: Path) -> None:
    assert allowed_cores(system(tmp_path, "docker/abc", {"": "200000 100000"})) == 2
