"""What a filler is: it words one answer of a checklist from what a run knows of itself."""

from __future__ import annotations

from collections.abc import Callable

from recart.report.facts import RunFacts

__all__ = ["Filler", "class_name", "number_range"]

# None: the run does not know
Filler = Callable[[RunFacts], str | None]


def number_range(pair: tuple[float, float]) -> str:
    """`3`, or `3 to 5`."""
    low, high = pair
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def class_name(node: object) -> str:
    """Name of the class that a node of the configuration names."""
    target = node.get("_target_", "") if hasattr(node, "get") else ""
    return str(target).rpartition(".")[2]
