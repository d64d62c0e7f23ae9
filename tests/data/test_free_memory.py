"""What is free is the least of the machine's and the control groups' memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from recart.data.free_memory import free_memory

GIB = 2**30


def _machine(root: Path, groups: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(
        f"MemTotal: {16 * GIB // 1024} kB\nMemAvailable: {8 * GIB // 1024} kB\n"
    )
    (root / "proc/self/cgroup").write_text(groups)
    return root


def _group(folder: Path, names: tuple[str, str], limit: str, used: int, stat: str) -> None:
    folder.mkdir(parents=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(stat)


V1, V2 = ("memory.limit_in_bytes", "memory.usage_in_bytes"), ("memory.max", "memory.current")


def test_without_limits_the_machines(tmp_path: Path) -> None:
    assert free_memory(_machine(tmp_path, "0::/\n")) == 8 * GIB


@pytest.mark.parametrize("place", ["sys/fs/cgroup", "sys/fs/cgroup/slurm/job_7"])
def test_a_limit_of_the_group_or_of_its_mount(tmp_path: Path, place: str) -> None:
    _machine(tmp_path, "4:cpu:/x\n0::/slurm/job_7\n")
    stat = f"anon 5\ninactive_file {GIB}\n"
    _group(tmp_path / place, V2, str(4 * GIB), 3 * GIB, stat)
    assert free_memory(tmp_path) == 2 * GIB  # what only caches files is free


def test_no_limit_is_no_limit(tmp_path: Path) -> None:
    _machine(tmp_path, "0::/\n")
    _group(tmp_path / "sys/fs/cgroup", V2, "max", 3 * GIB, "inactive_file 0\n")
    assert free_memory(tmp_path) == 8 * GIB


def test_first_version_and_never_below_zero(tmp_path: Path) -> None:
    _machine(tmp_path, "4:memory:/docker/1\n")
    stat = "inactive_file 7\ntotal_inactive_file 0\n"
    _group(tmp_path / "sys/fs/cgroup/memory/docker/1", V1, str(2 * GIB), 3 * GIB, stat)
    assert free_memory(tmp_path) == 0


def test_this_machine_has_some() -> None:
    assert 2**20 < free_memory() < 2**50
