"""The ledger of looks: how often a cohort's held-out patients were looked at, and by how many runs.

Whoever tries forty configurations and reports the best has chosen on the held-out patients, though
no single run shows it. Beside each prepared cohort lies a file to which every evaluation adds one
line, before it predicts anybody.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from recart.data.split import Split
from recart.training.run_directory import RunDirectory, configuration_hash

__all__ = ["Looks", "ledger_path", "look"]

_DIGITS: Final = 16


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Looks at the held-out patients of a cohort so far, this one among them.

    `configurations` counts what was looked with: configurations that differ in anything but where
    and how they run, or in their split. Evaluating a run again is a look, and no new configuration.
    """

    looks: int
    configurations: int

    @property
    def words(self) -> str:
        """One sentence for the report."""
        times = "once" if self.looks == 1 else f"{self.looks} times"
        by = f"{self.configurations} configuration" + "s" * (self.configurations > 1)
        return f"This cohort's held-out patients have been looked at {times}, by {by}."


def ledger_path(prepared: Path, key: str) -> Path:
    """Where the ledger of the prepared cohort `key` lies."""
    return prepared / f"{key}.looks.jsonl"


def look(prepared: Path, key: str, run: RunDirectory, split: Split) -> Looks:
    """Add one line to the cohort's ledger and count all of them.

    A line holds the time and hashes of run name, configuration and split: no name, no id, no path.
    Lines are appended one at a time, whoever evaluates beside; a line that cannot be read counts as
    a look of a configuration of its own, so that damage never makes looks fewer.

    Parameters
    ----------
    prepared
        Folder of prepared cohorts.
    key
        Key of the cohort's content: what else is named or predicted in it, it is the same cohort.
    run, split
        What is evaluated.
    """
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": hashlib.sha256(run.path.resolve().name.encode()).hexdigest()[:_DIGITS],
        "configuration": configuration_hash(run.config)[:_DIGITS],
        "split": split.sha256[:_DIGITS],
    }
    path = ledger_path(prepared, key)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        before = _read(descriptor)
        # a line that was cut short by a crash stays a line of its own
        start = b"\n" if before and not before.endswith(b"\n") else b""
        os.write(descriptor, start + json.dumps(line).encode() + b"\n")
        os.fsync(descriptor)
        return _count(_read(descriptor))
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _count(content: bytes) -> Looks:
    lines = [line for line in content.splitlines() if line.strip()]
    return Looks(
        looks=len(lines),
        configurations=len({_configuration(at, line) for at, line in enumerate(lines)}),
    )


def _configuration(at: int, line: bytes) -> tuple[Any, ...]:
    try:
        entry = json.loads(line)
        return str(entry["configuration"]), str(entry["split"])
    except (ValueError, KeyError, TypeError):
        return ("unreadable", at)
