"""What kind of file stands at a path, judged by its content, and which reader takes it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from recart.problems import InputError, Problem

__all__ = ["require_kind"]

_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_READERS: Final = {
    "h5ad": "an AnnData file; use data=h5ad",
    "h5mu": "a MuData file; use data=h5mu",
    "10x": "a Cell Ranger matrix; name it in a sample sheet and use data=cellranger",
    "loom": "a loom file; convert it with anndata.io.read_loom(...).write_h5ad(...)",
    "hdf5": "an HDF5 file of unknown layout",
    "zip": "a zip archive; unpack it",
    "gzip": "gzip-compressed; unpack it with gunzip",
    "zarr": "a Zarr folder; convert it with anndata.read_zarr(...).write_h5ad(...)",
    "text": "not an HDF5 file",
}


def require_kind(path: str | Path, *kinds: str) -> None:
    """Make sure that the file is there, whole, and of one of `kinds` (`h5ad`, `h5mu`, `10x`).

    Raises
    ------
    InputError
        If it is missing, a directory, unreadable, empty, truncated or of another kind; the mend
        names the reader that takes it.
    """
    problem = _problem(Path(path), kinds)
    if problem is not None:
        raise InputError([problem])


def _problem(path: Path, kinds: tuple[str, ...]) -> Problem | None:
    file = str(path)
    try:
        size = path.stat().st_size
    except OSError as error:  # missing, dangling or circular link, no permission on the way
        return Problem(
            code="E-FILE-001",
            what=f"cannot be opened ({error.strerror})",
            mend="correct data.path (relative paths start at the working directory)",
            file=file,
        )
    if path.is_dir():
        kind = "zarr" if (path / "zarr.json").exists() or (path / ".zgroup").exists() else ""
        return Problem(
            code="E-FILE-001",
            what="is a directory" + (f", {_READERS[kind]}" if kind else ""),
            mend="give the file itself, or use data=cellranger for a folder of Cell Ranger outputs",
            file=file,
        )
    if not os.access(path, os.R_OK):
        return Problem(
            code="E-FILE-001",
            what="may not be read by this user",
            mend="change the file's permissions",
            file=file,
        )
    if size == 0:
        return Problem(
            code="E-FILE-002", what="0 bytes", mend="copy or download the file again", file=file
        )
    try:
        kind = _kind(path)
    except (OSError, RuntimeError, LookupError, ValueError) as error:
        return _damaged(file, size, str(error))
    if kind in kinds:
        return None
    return Problem(
        code="E-FILE-004",
        what=f"is {_READERS[kind]}" if kind in {"text", "hdf5"} else f"holds {_READERS[kind]}",
        mend=f"this reader takes {' or '.join(kinds)}",
        file=file,
    )


def _damaged(file: str, size: int, error: str) -> Problem:
    stored = re.search(r"stored_eof = (\d+)", error)
    what = f"truncated at byte {size} of {stored.group(1)}" if stored else "HDF5 cannot open it"
    return Problem(code="E-FILE-003", what=what, mend="copy or download the file again", file=file)


def _kind(path: Path) -> str:
    import h5py

    with path.open("rb") as stream:
        head = stream.read(1024)
    if not h5py.is_hdf5(path):
        if head.startswith(b"PK\x03\x04"):
            return "zip"
        if head.startswith(b"\x1f\x8b"):
            return "gzip"
        if head.startswith((_HDF5, b"MuData")):
            raise OSError("damaged HDF5 header")
        return "text"
    with h5py.File(path, "r") as file:
        keys = set(file)
    if "mod" in keys:
        return "h5mu"
    if "row_attrs" in keys:
        return "loom"
    if {"obs", "var"} & keys:
        return "h5ad"
    # version 2 of Cell Ranger names the group after the genome
    return "10x" if "matrix" in keys or len(keys) == 1 else "hdf5"
