"""Checkpoints of members: plain Python and tensors, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recart.problems import InputError, Problem

__all__ = ["load_checkpoint", "save_checkpoint"]

# 2: members carry a decision rule
SCHEMA = 3

_PLAIN = (str, int, float, bool, type(None))


def save_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write beside the target, flush to disk, then rename: a reader sees old or new, never half.

    `content` may hold tensors, numbers, strings, lists, dicts and None.

    Raises
    ------
    TypeError
        If it holds anything else: `load_checkpoint` would refuse to read it back.
    """
    _require_plain(content, "content")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            torch.save({"schema": SCHEMA, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running any code from it (`weights_only=True`).

    Raises
    ------
    InputError
        If the file is not a checkpoint of this layout.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        schema = content["schema"]
    except FileNotFoundError:
        raise
    except Exception as error:
        problem = Problem(
            code="E-CKPT-001",
            what=f"not a recart checkpoint that can be read safely ({type(error).__name__})",
            mend="train the member again: delete the file and run train.py with the same directory",
            file=path.name,
        )
        raise InputError([problem]) from error
    if schema != SCHEMA:
        problem = Problem(
            code="E-CKPT-002",
            what=f"checkpoint layout {schema}; this version of recart reads {SCHEMA}",
            mend="train the run again in a new folder, or use the version of recart that is named "
            "in its versions.json",
            file=path.name,
        )
        raise InputError([problem])
    return content


def _require_plain(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _require_plain(key, where)
            _require_plain(inner, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for position, inner in enumerate(value):
            _require_plain(inner, f"{where}[{position}]")
    # exact types: numpy's float64 is a float, and is pickled as numpy's
    elif not isinstance(value, Tensor) and type(value) not in _PLAIN:
        raise TypeError(f"{where} is a {type(value).__name__}; checkpoints are plain Python")
