"""The manifest of a bundle: SHA-256 of every file, so that a changed byte is refused by name."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from recart.problems import InputError, Problem, Problems

__all__ = ["LAYOUT", "MANIFEST", "check_manifest", "seal", "sha256_of"]

MANIFEST: Final = "manifest.json"
LAYOUT: Final = 1
_KIND: Final = "recart bundle"
_AGAIN: Final = "get the bundle again from where it came from"
_LARGEST: Final = 1 << 20  # bytes of a manifest: some dozens of files


def seal(folder: Path, about: dict[str, Any]) -> str:
    """Write the manifest over all files of `folder`; returns its SHA-256, the name of the model.

    `about` says what the bundle is, besides layout and files.
    """
    files = {
        name: {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
        for name in sorted(set(_files(folder)) - {MANIFEST})
    }
    content = {"kind": _KIND, "layout": LAYOUT, **about, "files": files}
    text = _text({**content, "sha256": _digest(content)})
    path = folder / MANIFEST
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return _digest(content)


def check_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest and compare every file with it, before anything is read from one.

    Raises
    ------
    InputError
        If the folder is no bundle or one of another layout; with every file that was changed, is
        lacking or does not belong there.
    """
    manifest = _read(folder)
    problems = Problems()
    named: dict[str, Any] = manifest["files"]
    there = set(_files(folder))
    for name in sorted(there - {MANIFEST} - named.keys()):
        problems.error(_problem("E-BUNDLE-005", name, "a file that is not in the manifest", _AGAIN))
    for name, known in named.items():
        if name not in there:
            what = "the file is lacking"
            problems.error(_problem("E-BUNDLE-004", name, what, _AGAIN))
        elif not _is_plain(folder / name):
            what = "a link, or no plain file, stands where the file should be"
            problems.error(_problem("E-BUNDLE-005", name, what, _AGAIN))
        elif (folder / name).stat().st_size != known["bytes"] or (
            sha256_of(folder / name) != known["sha256"]
        ):
            what = "the file was changed since the bundle was written"
            problems.error(_problem("E-BUNDLE-003", name, what, _AGAIN))
    problems.raise_if_any()
    return manifest


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file() or not _is_plain(path):
        what = f"no {MANIFEST} in this folder" if folder.is_dir() else "there is no such folder"
        mend = "name the folder that `python evaluate.py run=... bundle=<folder>` wrote"
        raise InputError([_problem("E-BUNDLE-001", str(folder), what, mend)])
    changed = _problem("E-BUNDLE-003", MANIFEST, "the file was changed or is damaged", _AGAIN)
    if path.stat().st_size > _LARGEST:
        raise InputError([changed])
    written = path.read_bytes()
    try:
        manifest: Any = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise InputError([changed]) from error
    if not isinstance(manifest, dict) or manifest.get("kind") != _KIND:
        raise InputError([changed])
    # digests are made alike in every layout, so that a change is told from another version
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    if written != _text(manifest).encode() or manifest.get("sha256") != _digest(content):
        raise InputError([changed])
    if manifest.get("layout") != LAYOUT:
        recart = manifest.get("recart")
        problem = Problem(
            code="E-BUNDLE-002",
            file=folder.name,
            what=f"a bundle of layout {manifest.get('layout')}, written by recart {recart}; this "
            f"recart reads layout {LAYOUT}",
            mend=f"read it with recart {recart}, or ask for a bundle of layout {LAYOUT}",
        )
        raise InputError([problem])
    return manifest


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _text(manifest: dict[str, Any]) -> str:
    return json.dumps(manifest, indent=1, allow_nan=False) + "\n"


def _files(folder: Path) -> Iterator[str]:
    """Names of everything in the folder that is no folder, links among them."""
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in (*files, *links):
            yield (Path(place) / name).relative_to(folder).as_posix()


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _problem(code: str, file: str, what: str, mend: str) -> Problem:
    return Problem(code=code, file=file, what=what, mend=mend)
