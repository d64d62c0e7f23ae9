"""The baselines that a claim above a signal needs beside the model."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

__all__ = ["NEEDED", "not_run"]

# each by the names that it can have (`Baseline.name`)
NEEDED: Final = (
    ("composition", "cell types given"),
    ("cluster means",),
    ("pseudobulk",),
    ("quality only",),
    ("batch only",),
    ("clinical only",),
)


def not_run(accounted: Collection[str]) -> tuple[str, ...]:
    """Baselines that were neither run nor found to be impossible for the cohort."""
    return tuple(names[0] for names in NEEDED if not set(names) & set(accounted))
