"""Contenders in processes of their own; time and memory of a process with those it started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

__all__ = ["apart", "cpu_and_wall", "watched"]

_EVERY = 0.5  # seconds between looks at memory


def cpu_and_wall() -> np.ndarray[Any, Any]:
    """CPU seconds of this process and all its descendants, and wall seconds."""
    this = psutil.Process()
    own = this.cpu_times()
    spent = own.user + own.system
    for process in this.children(recursive=True):
        times = process.cpu_times()
        # a server of processes has waited for those that have ended
        spent += times.user + times.system + times.children_user + times.children_system
    return np.array([spent, time.perf_counter()])


def _own_memory(process: psutil.Process) -> np.ndarray[Any, Any]:
    """USS, and what of it is not pages of files.

    Pages of libraries and of the shared store lie in memory once, however many processes map them;
    they count as a process's own while no other happens to map them.
    """
    uss, anonymous = 0, 0
    for own in process.memory_maps(grouped=True):
        uss += own.private_clean + own.private_dirty
        if own.path.startswith("["):
            anonymous += own.private_clean + own.private_dirty
        elif "memfd:" not in own.path:  # what a process has written to a library's data
            anonymous += own.private_dirty
    return np.array([uss, anonymous])


@contextmanager
def watched(highest: dict[int, np.ndarray[Any, Any]]) -> Iterator[None]:
    """Note the highest memory of every grandchild: those that a server of processes has forked.

    USS, and what of it is not pages of files, each at its highest.
    """
    over = threading.Event()

    def look() -> None:
        while not over.wait(_EVERY):
            for server in psutil.Process().children():
                for process in server.children():
                    try:
                        own = _own_memory(process)
                    except psutil.Error:  # it has ended
                        continue
                    highest[process.pid] = np.maximum(own, highest.get(process.pid, 0))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def apart(script: str, *arguments: str, threads: int) -> Any:
    """What `script --child arguments` writes as JSON in its last line, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, str(Path(script).resolve()), "--child", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])
