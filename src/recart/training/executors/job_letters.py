"""What a job on another machine says: lines of JSON in a file, where no other way leads back.

Plain values go as they are; a dataclass of recart's goes by its name and fields. Nothing that is
read can run anything.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any, Final, final

__all__ = ["LetterBox", "write_letter"]

_CLASS: Final = "__class__"


def write_letter(path: Path, content: Any) -> None:
    """Append what is said; the file is closed, so that other machines see it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(_plain(content)) + "\n")


@final
class LetterBox:
    """Reads the file that another process appends to, each line once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0  # bytes

    def take(self) -> list[Any]:
        """What was said since the last time."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            found = file.read()
        whole = found[: found.rfind(b"\n") + 1]  # the last line may be half written
        self._read += len(whole)
        return [_restored(json.loads(line)) for line in whole.splitlines()]


def _plain(content: Any) -> Any:
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        kind = type(content)
        fields = {f.name: _plain(getattr(content, f.name)) for f in dataclasses.fields(content)}
        return {_CLASS: f"{kind.__module__}.{kind.__qualname__}", **fields}
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    return content


def _restored(content: Any) -> Any:
    if isinstance(content, list):
        return [_restored(value) for value in content]
    if not isinstance(content, dict):
        return content
    values = {key: _restored(value) for key, value in content.items() if key != _CLASS}
    if _CLASS not in content:
        return values
    module, _, name = str(content[_CLASS]).rpartition(".")
    kind = getattr(importlib.import_module(module), name) if module.startswith("recart.") else None
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise ValueError(f"{content[_CLASS]} is no dataclass of recart")
    return kind(**values)
