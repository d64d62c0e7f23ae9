"""Notes which prepared cohort the input files gave, so that unchanged files are not read again.

A note lies beside the stores. Its name is a keyed hash of what was asked: recart's own code, the
settings, the files' paths; in it stands a keyed hash of the files' sizes and times. Notes are
sealed with the project's pseudonym key: one that was damaged, edited or moved is none.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from recart.data.readers.reader import Reader

__all__ = ["Inputs", "Note", "find_note", "take_inputs", "write_note"]

# Another version may read the same file differently, or simulate another cohort.
_READ_BY: Final = ("recart", "anndata", "flowio", "h5py", "numpy", "pandas", "scanpy", "scipy")
# A file that is changed again within one tick of its file system's clock keeps its time.
_TICK_NS: Final = 2_000_000_000


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a cohort is read from, at one moment.

    `asked` says what shapes the result and where its files are, `files` their sizes and times.
    Both are in clear: neither is written anywhere. `settled` is False where a file is so new that
    it could change without its time telling so.
    """

    asked: str
    files: str
    settled: bool = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class Note:
    """The key of the store, and what the checks warned of."""

    key: str
    warnings: tuple[str, ...]


def take_inputs(reader: Reader, settings: Sequence[Any]) -> Inputs | None:
    """The inputs as they are now; None where they can't be told apart later.

    That is where a path is no regular file, or a setting no plain value.

    Parameters
    ----------
    reader
        Its attributes are its settings; those of a reader without files are its content.
    settings
        Whatever else shapes the result: plain values, dataclasses, lists and mappings of them.
    """
    try:
        paths = [os.path.realpath(path) for path in reader.files()]
        stats = [os.stat(path) for path in paths]
        asked = [
            [_version(package) for package in _READ_BY],
            _own_code(),
            _plain(reader),
            _plain(settings),
            paths,
        ]
    except (OSError, TypeError):
        return None
    if not all(stat.S_ISREG(found.st_mode) for found in stats):
        return None
    newest = max((found.st_mtime_ns for found in stats), default=0)
    return Inputs(
        asked=json.dumps(asked),
        files=json.dumps([(found.st_size, found.st_mtime_ns) for found in stats]),
        settled=time.time_ns() - newest > _TICK_NS,
    )


def find_note(folder: Path, secret: bytes, inputs: Inputs) -> Note | None:
    """The note on exactly these inputs, if it is whole and `secret` sealed it."""
    name = _mac(secret, "asked", inputs.asked)[:32]
    text = _read_sealed(folder / f"{name}.json", secret)
    note = None if text is None else json.loads(text)
    if note is None or note["files"] != _mac(secret, "files", inputs.files):
        return None
    said = "[]"
    if note["warnings"] is not None:
        found = _read_sealed(folder / f"{name}.warnings.json", secret)
        if found is None or _mac(secret, "warnings", found) != note["warnings"]:
            return None
        said = found
    return Note(key=note["key"], warnings=tuple(json.loads(said)))


def write_note(folder: Path, secret: bytes, inputs: Inputs, note: Note) -> None:
    """Note what these inputs gave, unless they could have changed unseen.

    The note holds hashes only. Warnings name samples and files as the user does; they lie beside
    it, like every file here readable by its owner only. What can't be written is not noted.
    """
    if not inputs.settled:
        return
    name = _mac(secret, "asked", inputs.asked)[:32]
    said = json.dumps(note.warnings) if note.warnings else None
    content = {
        "files": _mac(secret, "files", inputs.files),
        "key": note.key,
        "warnings": None if said is None else _mac(secret, "warnings", said),
    }
    with suppress(OSError):  # a note saves time, nothing else
        folder.mkdir(mode=0o700, exist_ok=True)
        if said is not None:
            _write_sealed(folder / f"{name}.warnings.json", said, secret)
        _write_sealed(folder / f"{name}.json", json.dumps(content), secret)


def _plain(value: Any) -> Any:
    """The value as JSON can say it, with the types of objects; TypeError where it can't."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return [[_plain(key), _plain(entry)] for key, entry in value.items()]
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(entry) for entry in value]
    if is_dataclass(value):
        own = {entry.name: getattr(value, entry.name) for entry in fields(value)}
    elif isinstance(value, Reader):
        own = vars(value)
    else:
        raise TypeError(f"a {type(value).__name__} is no plain setting")
    kind = type(value)
    return [f"{kind.__module__}.{kind.__qualname__}", _plain(own)]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _own_code() -> list[tuple[str, int, int]]:
    """The modules that read, check and store, as they are: a developer's version stays the same."""
    folder = Path(__file__).parent
    modules = ((str(file.relative_to(folder)), file.stat()) for file in folder.rglob("*.py"))
    return sorted((name, found.st_size, found.st_mtime_ns) for name, found in modules)


def _mac(secret: bytes, kind: str, text: str) -> str:
    return hmac.new(secret, f"{kind}\0{text}".encode(), hashlib.sha256).hexdigest()


def _read_sealed(path: Path, secret: bytes) -> str | None:
    try:
        seal, _, text = path.read_text(encoding="ascii").partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return text if hmac.compare_digest(seal, _mac(secret, path.name, text)) else None


def _write_sealed(path: Path, text: str, secret: bytes) -> None:
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{_mac(secret, path.name, text)}\n{text}")
        os.replace(part, path)
    finally:
        Path(part).unlink(missing_ok=True)
