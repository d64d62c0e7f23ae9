"""Metrics of a run as a CSV file: a row an epoch, in the file as soon as it is known.

Lightning's own writer would import Lightning, seconds, in the process that starts the jobs, before
the first of them has begun.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import final

__all__ = ["CsvMetrics"]


@final
class CsvMetrics:
    """Writes `version_<n>/metrics.csv` below `folder`; `n` follows the highest that is there.

    Columns are sorted by name. A metric that appears later gets a column, empty in earlier rows.
    """

    def __init__(self, folder: Path) -> None:
        names = [path.name.removeprefix("version_") for path in folder.glob("version_*")]
        number = max((int(name) for name in names if name.isdigit()), default=-1) + 1
        self.path = folder / f"version_{number}" / "metrics.csv"
        self._rows: list[dict[str, float]] = []
        self._columns: list[str] = []
        self._saved = 0

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Take in a row; it is in the file after `save`."""
        self._rows.append({**metrics, "step": len(self._rows) if step is None else step})

    def save(self) -> None:
        """Append the new rows; write the file anew where they have new columns."""
        new = self._rows[self._saved :]
        if not new:
            return
        columns = sorted(set(self._columns).union(*new))
        anew = columns != self._columns
        self._columns, self._saved = columns, len(self._rows)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("w" if anew else "a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=columns)
            if anew:
                writer.writeheader()
            writer.writerows(self._rows if anew else new)
