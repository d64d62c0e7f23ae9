"""One process writes into a run: a lock that goes with its process, and a plain answer without."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from recart.problems import InputError, Problem
from recart.training.progress import say

__all__ = ["locked"]

_LOCK, _HELD = "run.lock", "run.lock.held"
_NO_LOCKS: Final = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing into a run's folder.

    The lock belongs to the process: it goes when the process ends, however it ends. On a file
    system without locks (Lustre, NFS, as they may be mounted) a file `run.lock.held` stands in,
    which a killed process leaves behind.

    Raises
    ------
    InputError
        If another process holds it, and which; or if such a file was left, and what to do.
    """
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        before = os.pread(descriptor, 200, 0).decode(errors="replace")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError([_held(folder, before or "another process")]) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            with _held_file(folder):
                yield
            return
        if before:
            say(f"{before} ended without giving this run back: its lock went with it, it is free")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _me().encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


@contextmanager
def _held_file(folder: Path) -> Iterator[None]:
    path = folder / _HELD
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise InputError([_left(folder, path.read_text(errors="replace"))]) from None
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(_me())
        yield
    finally:
        path.unlink(missing_ok=True)


def _me() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _held(folder: Path, holder: str) -> Problem:
    return Problem(
        code="E-RUN-003",
        file=folder.name,
        what=f"{holder} is writing into this run",
        mend="wait for it or end it, or name another folder, paths.run=...",
    )


def _left(folder: Path, holder: str) -> Problem:
    found = re.fullmatch(r"process (\d+) on (.*)", holder)
    here = found is not None and found[2] == socket.gethostname()
    if found is not None and here and not Path("/proc", found[1]).exists():
        what = f"{holder} is gone and has left {_HELD}; this file system knows no locks"
        mend = f"delete {_HELD} in the run's folder and start again"
    else:
        what = f"{holder or 'another process'} is writing into this run, says {_HELD}; this file "
        what += "system knows no locks that would say whether it still does"
        mend = f"wait for it or end it; if it does not run any more, delete {_HELD}"
    return Problem(code="E-RUN-005", file=folder.name, what=what, mend=mend)
