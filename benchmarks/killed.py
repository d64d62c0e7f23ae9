"""Processes to be killed: forked here, workers of a command, and what is left of them."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

__all__ = ["ended", "forked", "left_over", "say", "sha", "workers"]


def say(line: str) -> None:
    """A line of the result."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def sha(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def forked(work: Callable[[], None]) -> int:
    """The number of a process that does the work and ends."""
    number = os.fork()
    if number:
        return number
    try:
        work()
    except BaseException as error:  # whatever it is, this process is not to go on as its parent
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(1)
    os._exit(0)


def ended(number: int, within: float) -> int | None:
    """Its status if it ends in time; else it is killed, and None."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return None


def workers(driver: int) -> list[int]:
    """Processes of jobs: those that the driver's server of processes has forked."""
    try:
        servers = psutil.Process(driver).children()
        return [own.pid for server in servers for own in server.children()]
    except psutil.Error:
        return []


def left_over(folder: Path) -> list[int]:
    """Processes that still speak of this folder, a moment later."""
    time.sleep(2)
    found = []
    for own in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in own.info["cmdline"] or []):
            found.append(own.pid)
    return found
