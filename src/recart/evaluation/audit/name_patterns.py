"""What the names of patients and samples could give away: their parts, as columns to be tested."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Final

import pandas as pd

__all__ = ["name_patterns", "original_names"]

_MOST_PARTS: Final = 6


def original_names(path: Path) -> dict[str, str] | None:
    """Ids by pseudonym, from the private map beside the prepared cohort; None where it is gone."""
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        return {row["pseudonym"]: row["id"] for row in csv.DictReader(file)}


def name_patterns(names: list[str], of: str) -> pd.DataFrame:
    """(n, parts) length and parts of each name: its words as levels, its numbers as numbers.

    `of` says whose names these are and stands in the names of the columns. The columns hold pieces
    of ids: they are tested, and never shown.
    """
    parts = [re.findall(r"[A-Za-z]+|\d+", name)[:_MOST_PARTS] for name in names]
    columns: dict[str, list[object]] = {f"length of the {of} id": [len(name) for name in names]}
    for i in range(max((len(own) for own in parts), default=0)):
        place = [own[i] if i < len(own) else None for own in parts]
        numbers = [int(p) if p is not None and p.isdigit() and len(p) < 16 else None for p in place]
        if any(number is not None for number in numbers):
            columns[f"number {i + 1} in the {of} id"] = list(numbers)
        if any(p is not None and not p.isdigit() for p in place):
            columns[f"word {i + 1} in the {of} id"] = [
                p if p is not None and not p.isdigit() else None for p in place
            ]
    return pd.DataFrame(columns).convert_dtypes(convert_string=False, convert_boolean=False)
