"""A folder that is made whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recart.problems import InputError, Problem

__all__ = ["check_new_folder", "new_folder"]


def check_new_folder(path: Path, codes: tuple[str, str], column: str = "") -> None:
    """Refuse a folder that could not be made, before any work.

    Parameters
    ----------
    path
        The folder.
    codes
        Of the problem that something is there already, and that the folder above is not.
    column
        The setting that names it.

    Raises
    ------
    InputError
        If either is so.
    """
    if path.exists() or path.is_symlink():
        code, what = codes[0], "there is something of this name"
        mend = "name a folder that is not there yet"
    elif not path.resolve().parent.is_dir():
        code, what, mend = codes[1], "the folder above it is not there", f"mkdir -p {path.parent}"
    else:
        return
    raise InputError([Problem(code=code, column=column, file=str(path), what=what, mend=mend)])


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder beside it to write into, which gets its name when all is written."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        yield part
        os.rename(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
