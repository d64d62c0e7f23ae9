"""Pseudonyms: what stands for a patient or a sample everywhere outside the user's own files."""

from __future__ import annotations

import csv
import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

from recart.problems import InputError, Problem

__all__ = ["Pseudonyms"]

_KEY_BYTES: Final = 32
_SHOWN: Final = 10
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Pseudonyms:
    """Keyed hashes of ids: one id and one key give one name, which tells nothing without the key.

    A plain hash of a short id is undone by hashing all likely ids, so the hash is HMAC-SHA256 with
    a secret key of the project. Ten hexadecimal digits are shown; two ids that would share them
    raise. Pseudonymous data stay personal data for those who hold the key.

    Parameters
    ----------
    key_file
        The project's key, made on first use, readable by its owner only. It belongs neither into
        a run directory nor into anything that is shared; without it the names cannot be made anew.

    Raises
    ------
    InputError
        If the key file holds no key, or others than its owner may read it.
    """

    def __init__(self, key_file: str | Path) -> None:
        self._key = _read_or_make_key(Path(key_file))
        self._ids: dict[str, tuple[str, str]] = {}

    def patient(self, patient: str) -> str:
        """`P-` and ten digits."""
        return self._name("P", "patient", patient)

    def sample(self, sample: str) -> str:
        """`S-` and ten digits."""
        return self._name("S", "sample", sample)

    def batch(self, batch: str) -> str:
        """`B-` and ten digits: a library is often named after who is in it."""
        return self._name("B", "batch", batch)

    def receptor(self, sequence: str) -> str:
        """Sixteen digits of a receptor's genes and sequences; not in the map of ids."""
        digest = hmac.digest(self._key, f"receptor\0{sequence}".encode(), "sha256")
        return digest.hex()[:16]

    def write_id_map(self, path: str | Path) -> None:
        """Write the names given so far beside their ids, as CSV that only its owner may read.

        Ids that a spreadsheet would run as a formula are quoted with an apostrophe.
        """
        target = Path(path)
        with _private_file(target) as (file, draft):
            writer = csv.writer(file)
            writer.writerow(["kind", "pseudonym", "id"])
            for name, (kind, own) in sorted(self._ids.items()):
                writer.writerow([kind, name, f"'{own}" if own.startswith(_FORMULA) else own])
            file.flush()
            os.fsync(file.fileno())
            os.replace(draft, target)

    def _name(self, prefix: str, kind: str, own: str) -> str:
        digest = hmac.new(self._key, f"{kind}\0{own}".encode(), hashlib.sha256).hexdigest()
        name = f"{prefix}-{digest[:_SHOWN]}"
        if self._ids.setdefault(name, (kind, own)) != (kind, own):
            problem = Problem(
                code="E-KEY-001",
                what=f"two {kind} ids have the same pseudonym {name}",
                mend="use another key file: move the present one away and prepare the cohort anew",
            )
            raise InputError([problem])
        return name


@contextmanager
def _private_file(target: Path) -> Iterator[tuple[TextIO, Path]]:
    """Draft beside `target`, mode 0600, to be renamed or linked into its place; then removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file, Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _read_or_make_key(path: Path) -> bytes:
    if not path.exists():
        _make_key(path)
    text = path.read_text(encoding="ascii", errors="replace").strip()
    problems = []
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        problems.append(
            Problem(
                code="E-KEY-002",
                file=path.name,
                what=f"this is no key: {2 * _KEY_BYTES} hexadecimal digits expected",
                mend="restore the project's key file; a new key gives every patient a new name",
            )
        )
    if os.name == "posix" and path.stat().st_mode & 0o077:
        problems.append(
            Problem(
                code="E-KEY-003",
                file=path.name,
                what=f"others may read the key (mode {path.stat().st_mode & 0o777:03o})",
                mend="chmod 600 on the key file",
            )
        )
    if problems:
        raise InputError(problems)
    return key


def _make_key(path: Path) -> None:
    """Make the key under another name, then link it: whoever comes second finds it whole."""
    with _private_file(path) as (file, draft):
        file.write(secrets.token_hex(_KEY_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
