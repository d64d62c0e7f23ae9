"""Files that are whole or not there, through kills, full disks and power cuts."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Final

from recart.problems import InputError, Problem

__all__ = ["sweep_parts", "write_atomically"]

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> Path:
    """Write beside the target, flush to disk, rename: a reader sees old or new, never half.

    Nothing is written anywhere else, so that only the target's disk matters. What is not `durable`
    is not flushed: a power cut may lose it.

    Raises
    ------
    InputError
        If the disk is full, a quota used up or a file may not be so large: which file, how much it
        needs and how much there is. What was there before is there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(part, path)
        if durable:
            _flush_folder(path.parent)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise InputError([_no_room(path, len(content), error)]) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def sweep_parts(folder: Path) -> None:
    """Remove what processes have left that were killed as they wrote into this folder."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Bring the new name to the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems know no folders to flush
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _no_room(path: Path, needed: int, error: OSError) -> Problem:
    free = shutil.disk_usage(path.parent).free
    return Problem(
        code="E-DISK-001",
        file=path.name,
        what=f"it could not be written ({error.strerror}): it needs {needed:,} bytes, {free:,} are "
        f"free on its disk",
        mend="free some disk, or raise the quota or limit; then run the same command again with "
        "paths.run=<the run's folder>",
    )
