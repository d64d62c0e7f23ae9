"""Files of states: the newest that is whole is read, and what was good stays good."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recart.problems import InputError
from recart.training.state_files import StateFiles


def content(number: int) -> dict[str, Any]:
    return {"weights": torch.full((500,), float(number)), "names": ["a", "b"], "loss": 0.5}


def written(folder: Path, count: int) -> StateFiles:
    files = StateFiles(folder)
    for number in range(count):
        files.write({"epoch": number, "step": 7}, content(number))
    return files


def newest(files: StateFiles) -> tuple[list[int], list[str]]:
    """Epochs of the states that are whole, and what is said of the others."""
    refused: list[str] = []
    return [found.about["epoch"] for found in files.newest(refused.append)], refused


def test_the_newest_is_read_and_one_more_is_kept(tmp_path: Path) -> None:
    files = written(tmp_path, 4)
    assert newest(files) == ([3, 2], [])
    assert len(list(tmp_path.iterdir())) == 2
    found = next(iter(files.newest(lambda _: None)))
    assert torch.equal(found.content["weights"], content(3)["weights"])
    assert found.content["names"] == ["a", "b"]
    assert files.reached() == (3, 7)
    files.remove()
    assert newest(files) == ([], [])
    assert files.reached() is None


def test_any_damage_is_seen_and_the_one_before_is_read(tmp_path: Path) -> None:
    files = written(tmp_path, 2)
    path = tmp_path / "state-000001.bin"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    offsets = sorted({0, 1, 15, 79, 80, *rng.integers(0, len(whole), 45).tolist()})
    damaged = [whole[:offset] for offset in offsets]
    for offset in offsets:
        flipped = bytearray(whole)
        flipped[offset] ^= 1 << int(rng.integers(0, 8))
        damaged.append(bytes(flipped))
    assert len(damaged) >= 98
    for own in [*damaged, whole + b"\0"]:
        path.write_bytes(own)
        assert newest(files) == ([0], ["state-000001.bin is damaged and is not used"])
    files.write({"epoch": 2, "step": 0}, content(2))
    assert newest(files)[0] == [2]


def test_only_what_can_be_read_back_is_written(tmp_path: Path) -> None:
    files = written(tmp_path, 1)
    with pytest.raises(TypeError, match=r"state\['path'\] is a PosixPath"):
        files.write({}, {"path": tmp_path})
    assert newest(files) == ([0], [])


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """What a quota does: a larger file can't be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_without_room_the_state_before_stays(tmp_path: Path) -> None:
    files = written(tmp_path, 2)
    with files_up_to(1000), pytest.raises(InputError, match=r"E-DISK-001.*needs [\d,]+ bytes") as e:
        files.write({"epoch": 2, "step": 0}, content(2))
    assert "free" in str(e.value)
    assert newest(files) == ([1, 0], [])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "state-000000.bin",
        "state-000001.bin",
    ]


def test_killed_while_it_writes(tmp_path: Path) -> None:
    """As `benchmarks/kills.py saves` does two hundred times."""
    rng = np.random.default_rng(1)
    told = 0
    for _ in range(6):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            files = StateFiles(tmp_path)
            for number in range(told + 1, told + 10_000):
                files.write({"epoch": number, "step": 0}, content(number))
                os.write(writer, f"{number}\n".encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            told = int(pipe.readline())
            time.sleep(float(rng.uniform(0, 0.02)))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            told = max([told, *map(int, pipe)])
        epochs, refused = newest(StateFiles(tmp_path))
        assert not refused
        assert max(epochs, default=0) >= told
        assert not list(tmp_path.glob(".*"))
        told = max([told, *epochs])
