"""Names that are nearly alike: the nearest column, the same id spelt twice."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from recart.problems import Problem, Problems

__all__ = ["nearest", "unlike_ids"]


def nearest(name: str, names: Sequence[str], n: int = 3) -> list[str]:
    """The `n` most similar names, ignoring case, for error messages."""
    by_lower = {str(candidate).lower(): str(candidate) for candidate in names}
    return [by_lower[hit] for hit in get_close_matches(name.lower(), list(by_lower), n, 0.4)]


def unlike_ids(ids: Iterable[object], *, column: str, file: str, problems: Problems) -> None:
    """Report ids that differ only in blanks, case, leading zeros or look-alike characters."""
    groups: dict[str, set[str]] = {}
    for value in ids:
        raw = str(value)
        key = unicodedata.normalize("NFKC", raw).strip().casefold().translate(_LOOK_ALIKES)
        key = key.lstrip("0") if key.isdigit() else key
        groups.setdefault(key, set()).add(raw)
    for spellings in groups.values():
        if len(spellings) > 1:
            shown = " and ".join(repr(value) for value in sorted(spellings))
            problems.error(
                Problem(
                    code="E-ID-002",
                    what=f"{shown} are probably one id",
                    mend="write each id the same way everywhere, or make them clearly different",
                    file=file,
                    column=column,
                    count=len(spellings),
                )
            )


# Cyrillic and Greek letters that look like Latin ones, after casefolding
_LOOK_ALIKES: Final = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u03b1\u03bf\u03c1\u03bd",
    "aeopcyxisaopv",
)
