"""What a configuration brings in that was fitted elsewhere, and on whom, where it says so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["DECLARED", "brought_in"]

# Keys of a configuration that bring in something fitted elsewhere.
_OUTSIDE: Final = re.compile(
    r"(?:^|_)(gene_list|genes_file|pretrained|checkpoint|imported|initial|weights|signature)(?:_|$)"
)
DECLARED: Final = "fitted_on"
"""The key beside them that says on whom."""


def brought_in(tree: Any, place: str = "") -> Iterator[tuple[str, str, str | None]]:
    """Parts of a configuration that were fitted elsewhere: where, what kind, on whom.

    Whom they were fitted on is None where the key beside them does not say so.
    """
    if isinstance(tree, dict):
        for key, value in tree.items():
            inner = f"{place}.{key}" if place else str(key)
            if isinstance(value, str) and value and _OUTSIDE.search(str(key)):
                declared = tree.get(DECLARED)
                yield inner, "a file", None if declared is None else str(declared)
            yield from brought_in(value, inner)
    elif isinstance(tree, list):
        for i, value in enumerate(tree):
            yield from brought_in(value, f"{place}[{i}]")
