"""Claim: of new patients of a fifth of the depth, those who are not refused keep their side (90 %).

The members of the benchmark of shifts with heads; new patients as they are, and with one in five
counts: of RNA alone, and of RNA and proteins. Printed: how many change sides, how many the default
rules refuse, and how many of the others change sides.

    python benchmarks/shallow.py --patients 40 --seeds 1 2 3
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mapping import thinned
from shift_heads import labelled, log_odds, with_heads
from shift_members import Settings, asked, fitted_trust, prepared, trained
from shifted_stores import shallower
from shifts import scored

from recart.data.part_of_store import without_patients

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Thin:
    """(n) whether each patient changes sides, and whether it is refused."""

    flipped: Array
    refused: Array


def measure(given: Settings, folder: Path) -> Iterator[tuple[str, Thin]]:
    """New patients as they are, then with fewer counts."""
    store = prepared(given, 2 * given.patients, given.seed, folder)
    members = trained(given, store, folder)
    trust = fitted_trust(given, members, store)
    members = with_heads(given, members, store)
    new = without_patients(store, range(given.patients))
    rng = np.random.default_rng(given.seed)
    whole = log_odds(members, new).mean(axis=0) > 0
    for name, own in (
        ("everything", new),
        ("half of all counts", thinned(new, 0.5, given.seed)),
        ("a fifth of RNA counts", shallower(new, rng)),
        ("a fifth of all counts", thinned(new, 0.2, given.seed)),
    ):
        called = log_odds(members, own).mean(axis=0) > 0
        refused = scored(trust, members, own, labelled(own).bags).refused
        yield name, Thin(flipped=called != whole, refused=refused)


def main() -> None:
    """Print a line for each depth, over all seeds together."""
    found: dict[str, list[Thin]] = {}
    for settings in asked(__doc__):
        with tempfile.TemporaryDirectory() as folder:
            for name, own in measure(settings, Path(folder)):
                found.setdefault(name, []).append(own)
    for line in lines(found):
        sys.stdout.write(line + "\n")


def lines(found: dict[str, list[Thin]]) -> Iterator[str]:
    """A line for each depth, over all seeds together."""
    for name, seeds in found.items():
        flipped, refused = (
            np.concatenate([getattr(own, field) for own in seeds])
            for field in ("flipped", "refused")
        )
        kept = flipped[~refused]
        yield (
            f"{name:<24} n {len(flipped)}  change sides {flipped.mean():.1%}  "
            f"refused {refused.mean():.1%}  of the other {len(kept)} change sides {kept.sum()}"
        )


if __name__ == "__main__":
    main()
