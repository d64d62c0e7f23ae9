"""The baselines that a claim above a signal needs beside the model."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

__all__ = ["NEEDED", "not_run"]

_CLINICAL, _WITH_CLINICAL = "clinical only", "composition + clinical"
# each by the names that it can have (`Baseline.name`)
NEEDED: Final = (
    ("composition", "cell types given"),
    ("cluster means",),
    ("pseudobulk",),
    ("quality only",),
    ("batch only",),
    (_CLINICAL,),
    (_WITH_CLINICAL, "cell types given + clinical"),
)


def not_run(ran: Collection[str], impossible: Collection[str]) -> tuple[str, ...]:
    """Needed baselines that were not run, though the cohort could have them.

    Parameters
    ----------
    ran, impossible
        Names of those that were run, and of those that were found to have nothing to read.
    """
    accounted = {*ran, *impossible}
    if _CLINICAL in impossible:
        accounted.add(_WITH_CLINICAL)  # in runs of before it was there, too
    return tuple(names[0] for names in NEEDED if not set(names) & accounted)
