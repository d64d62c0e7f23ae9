"""Checkpoints of members: plain Python and tensors, written whole or not at all."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recart.problems import InputError, Problem
from recart.training.atomic_files import write_atomically

__all__ = ["load_checkpoint", "plain", "save_checkpoint"]

# 2: members carry a decision rule; 5: "" in a slot of a head is a word that was not given
SCHEMA = 5

_PLAIN = (str, int, float, bool, type(None))


def save_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, whole or not at all; the same content gives the same bytes.

    `content` may hold tensors, numbers, strings, lists, dicts and None.

    Raises
    ------
    TypeError
        If it holds anything else: `load_checkpoint` would refuse to read it back.
    InputError
        If there is no room for it; what was there before is there still.
    """
    buffer = io.BytesIO()
    torch.save({"schema": SCHEMA, **plain(content, "content")}, buffer)
    write_atomically(path, buffer.getvalue())


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


def plain(value: Any, where: str) -> Any:
    """A copy whose bytes, pickled, follow from what it holds and not from how it came about.

    Pickle writes an object that occurs again as a reference: here equal strings are one object, and
    equal lists are not. `where` names the value in messages.

    Raises
    ------
    TypeError
        If the value is neither tensor nor plain Python.
    """
    if isinstance(value, dict):
        return {
            plain(key, where): plain(inner, f"{where}[{key!r}]") for key, inner in value.items()
        }
    # exact types: numpy's float64 is a float, and is pickled as numpy's
    if type(value) in (list, tuple):
        return type(value)(plain(inner, f"{where}[{n}]") for n, inner in enumerate(value))
    if type(value) is str:
        return sys.intern(value)
    if isinstance(value, Tensor):
        # a view would be written with all of what it is a view of
        whole = value.untyped_storage().nbytes() == value.nbytes
        return value.detach() if whole else value.detach().clone()
    if type(value) in _PLAIN:
        return value
    raise TypeError(f"{where} is a {type(value).__name__}; checkpoints are plain Python")
