"""Numbered files of one training's states: the newest sound one is read, the one before is kept."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from recart.training.atomic_files import sweep_parts, write_atomically

__all__ = ["Found", "StateFiles"]

_MARK: Final = b"recart-state-1 "
_KEPT: Final = 2
_NAME: Final = re.compile(r"state-(\d+)\.bin")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A state that was read: what its file says of it, and the state."""

    about: dict[str, Any]
    content: dict[str, Any]


@final
class StateFiles:
    """States of one training in a folder of its own.

    A file begins with the SHA-256 of all that follows: a line of JSON that says what the state is
    of, then the state. It is one file, so that no two can disagree, and it appears whole. Only when
    it is there are older ones removed, but for one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, about: dict[str, Any], content: dict[str, Any]) -> None:
        """Write the next state.

        Raises
        ------
        InputError
            If there is no room for it. Older states stay.
        TypeError
            If the state holds what would not be read back: anything but tensors and plain Python.
        """
        import torch  # seconds, not for who only asks how far a run is

        from recart.training.checkpoints import plain

        content = plain(content, "state")
        numbers = self._numbers()
        number = numbers[-1] + 1 if numbers else 0
        buffer = io.BytesIO()
        buffer.write(json.dumps(about, sort_keys=True).encode() + b"\n")
        torch.save(content, buffer)
        body = buffer.getbuffer()
        head = _MARK + hashlib.sha256(body).hexdigest().encode() + b"\n"
        write_atomically(self._path(number), b"".join((head, body)))
        for old in numbers[: 1 - _KEPT]:
            self._path(old).unlink(missing_ok=True)

    def newest(self, refused: Callable[[str], None]) -> Iterator[Found]:
        """States that are whole, newest first; `refused` is told of files that are not."""
        sweep_parts(self.folder)
        for number in reversed(self._numbers()):
            found = _read(self._path(number))
            if found is None:
                refused(f"{self._path(number).name} is damaged and is not used")
            else:
                yield found

    def reached(self) -> tuple[int, int] | None:
        """Epoch and step that the newest state says it is of, without reading the state."""
        for number in reversed(self._numbers()):
            try:
                with self._path(number).open("rb") as file:
                    file.readline()
                    about = json.loads(file.readline())
                return int(about["epoch"]), int(about["step"])
            except (OSError, ValueError, KeyError):  # it was replaced meanwhile, or is damaged
                continue
        return None

    def remove(self) -> None:
        """Remove the folder with all states."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"state-{number:06d}.bin"

    def _numbers(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(name[1]) for name in names if name)


def _read(path: Path) -> Found | None:
    """None where the file is not what was written."""
    import torch

    whole = memoryview(path.read_bytes())
    edge = len(_MARK) + 64
    body = whole[edge + 1 :]
    if bytes(whole[: edge + 1]) != _MARK + hashlib.sha256(body).hexdigest().encode() + b"\n":
        return None
    buffer = io.BytesIO(body)
    about = json.loads(buffer.readline())
    rest = io.BytesIO(buffer.read())
    return Found(about=about, content=torch.load(rest, map_location="cpu", weights_only=True))
