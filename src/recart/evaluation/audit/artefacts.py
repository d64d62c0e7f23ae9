"""Every fitted artefact of a member's file, by name and SHA-256 over its canonical bytes."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch

__all__ = ["artefacts", "differing"]

# Names of what a member's file holds, by its key or the dotted path in it; other keys of the file
# go by their own path, so that nothing that is fitted is left out.
_NAMES: Final = {
    "member": "member",
    "fitted_on": "patients seen",
    "features.patients": "patients seen",
    "features.genes": "gene list",
    "features.proteins": "protein list",
    "features.protein_seen": "protein list",
    "features.background_mean": "priors",
    "features.background_scale": "priors",
    "features.batches": "batch categories",
    "features.batch_share": "batch categories",
    "features.timepoints": "order of time points",
    "features.stages": "order of time points",
    "features.receptor_dim": "receptor vocabulary",
    "encoder": "encoder weights",
    "best_epoch": "chosen epoch",
    "best_loss": "loss at the chosen epoch",
    "history": "training log",
    **{
        f"head.features.{name}": "prototypes"
        for name in ("centres", "widths", "view", "usual_kf", "usual_l", "usual_kl")
    },
    "head.features": "features of bags",
    "head.mean": "feature scaling",
    "head.scale": "feature scaling",
    "head.low": "feature scaling",
    "head.high": "feature scaling",
    "head.coefficients": "head weights",
    "head.centre": "head weights",
    "head.offsets": "head weights",
    "head.endpoint": "head weights",
    "head.chosen": "chosen hyper-parameters",
    "decision_rule": "calibration map",
    "decision_rule.threshold": "threshold",
}
# Whom it holds out is what the member is asked, not what it has fitted.
_GIVEN: Final = ("schema", "member.held_out")
# Dictionaries below the first level whose entries go by names of their own.
_OPENED: Final = ("head.features",)


def artefacts(content: Mapping[str, Any]) -> dict[str, str]:
    """Digest of each artefact in the content of a member's file.

    Parameters
    ----------
    content
        What `recart.training.checkpoints.load_checkpoint` gives: plain Python and tensors.
    """
    digests: dict[str, Any] = {}
    for path, value in _parts(content):
        own = digests.setdefault(_name(path), hashlib.sha256())
        own.update(path.encode() + b"\0")
        for piece in _canonical(value):
            own.update(piece)
    return {name: own.hexdigest() for name, own in sorted(digests.items())}


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Names of the artefacts that are not the same to the byte, or stand on one side only."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def _parts(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of the file, those of a dictionary one by one."""
    for key in sorted(content):
        path, value = f"{above}{key}", content[key]
        if isinstance(value, dict) and (not above or path in _OPENED):
            yield from _parts(value, f"{path}.")
        elif path not in _GIVEN:
            yield path, value


def _name(path: str) -> str:
    """Of the artefact that an entry belongs to: its own, or that of the nearest above it."""
    above = path
    while above not in _NAMES and "." in above:
        above = above.rpartition(".")[0]
    return _NAMES.get(above, path)


def _canonical(value: Any) -> Iterator[bytes]:
    """Bytes that are the same exactly where the value is; each begins with its type and length."""
    if isinstance(value, dict):
        yield b"dict" + struct.pack("<q", len(value))
        for key in sorted(value, key=str):
            yield from _canonical(key)
            yield from _canonical(value[key])
    elif isinstance(value, list | tuple):
        yield b"list" + struct.pack("<q", len(value))
        for item in value:
            yield from _canonical(item)
    elif isinstance(value, torch.Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        # a copy: a tensor of one number may say that it is contiguous and have a stride of zero
        own = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        yield own.view(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, float):
        yield b"float" + struct.pack("<d", value)
    else:  # text, whole numbers, truth values, None
        text = f"{type(value).__name__} {value!r}".encode()
        yield struct.pack("<q", len(text)) + text
