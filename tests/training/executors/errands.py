"""Work for the tests of executors: a process that runs it imports it from here by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def double(number: int, report: Any) -> int:
    report(f"doubling {number}")
    return 2 * number


def refuse(report: Any) -> None:
    report("about to refuse")
    raise ValueError("no such thing\nas a free lunch")


def leave(code: int, _report: Any) -> None:
    sys.exit(code)


def die(number: int, report: Any) -> None:
    report("last words")
    os.kill(os.getpid(), number)
    time.sleep(60)


def last(folder: str, _report: Any) -> None:
    """Sleep for long, ignoring what ends other processes, and say which process it is."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def sleep(folder: str, _report: Any) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def chat(folder: str, report: Any) -> None:
    """Say something ten times a second for ten minutes."""
    (Path(folder) / str(os.getpid())).touch()
    for number in range(6000):
        report(number)
        time.sleep(0.1)


def wait_for(folder: str, _report: Any) -> None:
    """End when another job says so."""
    until = time.monotonic() + 300
    while not (Path(folder) / "free").exists() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(2)


def free(folder: str, _report: Any) -> None:
    (Path(folder) / "free").touch()


def epochs(report: Any) -> None:
    from recart.training.epoch_reports import EpochReport

    for epoch, value in enumerate((0.1 + 0.2, float("nan"))):
        means = {"members_done": 0.0, "validation/rna": value}
        report(EpochReport(epoch=epoch, step=10 * epoch, means=means))


def surroundings(_report: Any) -> dict[str, Any]:
    import torch

    return {
        "pid": os.getpid(),
        "threads": torch.get_num_threads(),
        "omp": os.environ.get("OMP_NUM_THREADS"),
        "main": getattr(sys.modules["__main__"], "__file__", None),
        # not pyplot, which Lightning imports in a server that was started for training
        "heavy": sorted({"wandb", "tensorboard", "scanpy"} & set(sys.modules)),
    }


def look(store: Any, _report: Any) -> dict[str, Any]:
    """What a process sees of a shared store, and where it keeps it."""
    rna = store.store.rna
    before = float(rna[0:5].sum())
    rna.data[0] += 1  # a private copy of the page
    return {
        "patients": list(store.store.patients.index),
        "first": before,
        "sum": float(rna.sum()) - 1,
        "protein": None if store.store.protein is None else float(store.store.protein[:].sum()),
        "path": store.store.path,
        "owns": bool(rna.indices.flags.owndata),
    }


def look_on_disk(store: Any, _report: Any) -> tuple[Any, float]:
    return store.store.path, float(store.store.rna[3:9].sum())
