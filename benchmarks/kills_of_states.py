"""A process that writes states, killed at random, and states that are written to a full disk."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path

import torch
from killed import ended, forked, say

from recart.problems import InputError
from recart.training.state_files import StateFiles

__all__ = ["full_disk", "saves"]


def saves(folder: Path, kills: int, other: str | None, rng: random.Random) -> None:
    """Kill a process that writes states, `kills` times."""
    content = {"weights": torch.zeros(1_000_000), "number": 0}
    place = folder / "saves"
    if other is not None:
        os.environ["TMPDIR"] = tempfile.tempdir = other
    lost = unreadable = parts = newest = 0
    for _ in range(kills):
        reader, writer = os.pipe()

        def write(first: int = newest, pipe: int = writer) -> None:
            for number in range(first + 1, first + 10_000):
                StateFiles(place).write({"number": number}, {**content, "number": number})
                os.write(pipe, f"{number}\n".encode())

        number = forked(write)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            told = [int(pipe.readline())]
            ended(number, rng.uniform(0, 0.1))
            told += [int(line) for line in pipe]
        parts += len(list(place.glob(".*.part")))
        refused: list[str] = []
        found = next(iter(StateFiles(place).newest(refused.append)), None)
        read = 0 if found is None else int(found.content["number"])
        lost += read < max(told, default=newest)
        unreadable += len(refused)
        newest = max(read, newest)
        if list(place.glob(".*.part")):
            raise SystemExit("a part is left")
    say(
        f"{kills} kills while states of 4 MB were written ({newest} written), TMPDIR on "
        f"{other or 'the same disk'}: {lost} states lost, {unreadable} unreadable; {parts} "
        "unfinished files were left and swept"
    )


def full_disk(place: Path, times: int) -> None:
    """Write to a small disk until it is full, `times` times."""
    kept = named = 0
    words = ""
    for size in range(times):
        files = StateFiles(place / f"states-{size}")
        content = {"weights": torch.zeros(60_000 + 4_000 * size)}
        files.write({"number": 0}, {**content, "number": 0})
        free = shutil.disk_usage(place).free
        (place / "filler").write_bytes(b"\0" * max(0, free - 100_000))
        try:
            files.write({"number": 1}, {**content, "number": 1})
        except InputError as error:
            words = str(error.problems[0])
            named += "bytes" in words and "free" in words
        found = next(iter(files.newest(lambda _: None)))
        kept += found.content["number"] == 0 and not list(files.folder.glob(".*"))
        shutil.rmtree(files.folder)
        (place / "filler").unlink()
    say(f"{times} full disks: {kept} times the state before was intact, {named} times it is said")
    say(f"  {words}")
