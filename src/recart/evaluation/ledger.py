"""The ledger of looks: how often a cohort's held-out patients were looked at, and by how many runs.

Whoever tries forty configurations and reports the best has chosen on the held-out patients, though
no single run shows it. Beside the prepared cohorts lies a file to which every evaluation adds one
line, before it predicts anybody. Patients are known again by their cells (`cell_sketch`), so that
another receptor embedding, other limits or a column more are other looks at the same patients.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from recart.data.split import Split
from recart.evaluation.cell_sketch import known_again
from recart.training.run_directory import RunDirectory, configuration_hash

__all__ = ["Looks", "ledger_path", "look"]

_DIGITS: Final = 16


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Looks at a cohort's held-out patients so far, this one among them.

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


def ledger_path(prepared: Path) -> Path:
    """Where the ledger of all cohorts in a folder of prepared ones lies."""
    return prepared / "looks.jsonl"


def look(prepared: Path, run: RunDirectory, split: Split, patients: Sequence[str]) -> Looks:
    """Add one line to the ledger and count those that looked at half of these patients or more.

    A line holds the time, hashes of run name, configuration and split, and sketches of the cells
    of the held-out patients: no name, no id, no path. Lines are appended one at a time, whoever
    evaluates beside; a line that cannot be read counts as a look of a configuration of its own, at
    whatever patients, so that damage never makes looks fewer.

    Parameters
    ----------
    prepared
        Folder of prepared cohorts; looks from another folder are not known here.
    run, split
        What is evaluated.
    patients
        Sketches of the patients that the split holds out (`recart.evaluation.cell_sketch`).
    """
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": hashlib.sha256(run.path.resolve().name.encode()).hexdigest()[:_DIGITS],
        "configuration": configuration_hash(run.config)[:_DIGITS],
        "split": split.sha256[:_DIGITS],
        "patients": list(patients),
    }
    path = ledger_path(prepared)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        before = _read(descriptor)
        # a line that was cut short by a crash stays a line of its own
        start = b"\n" if before and not before.endswith(b"\n") else b""
        os.write(descriptor, start + json.dumps(line).encode() + b"\n")
        os.fsync(descriptor)
        return _count(_read(descriptor), patients)
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _count(content: bytes, patients: Sequence[str]) -> Looks:
    looks = list(_looks(content, patients))
    return Looks(looks=len(looks), configurations=len(set(looks)))


def _looks(content: bytes, patients: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Configuration and split of each look at half of the patients or more."""
    known = {tuple(patients): True}  # most looks are at the same patients
    for at, line in enumerate(line for line in content.splitlines() if line.strip()):
        try:
            entry = json.loads(line)
            with_what = str(entry["configuration"]), str(entry["split"])
            seen = tuple(map(str, entry["patients"]))
        except (ValueError, KeyError, TypeError):
            yield "unreadable", at
            continue
        if seen not in known:
            known[seen] = 2 * known_again(patients, seen) >= len(patients)
        if known[seen]:
            yield with_what
