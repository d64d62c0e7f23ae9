"""What a filler is: it words one answer of a checklist from what a run knows of itself."""

from __future__ import annotations

from collections.abc import Callable

from recart.report.facts import RunFacts

__all__ = ["Filler", "class_name", "with_censored"]

# None: the run does not know
Filler = Callable[[RunFacts], str | None]


def class_name(node: object) -> str:
    """Name of the class that a node of the configuration names."""
    target = node.get("_target_", "") if hasattr(node, "get") else ""
    return str(target).rpartition(".")[2]


def with_censored(facts: RunFacts) -> str:
    """In brackets, of survival: how many are evaluated, beside those known as yes or no."""
    own = [one for one in facts.outcomes if one.leads and one.kind == "survival"]
    return f" ({own[0].name} as a whole: {own[0].words})" if own else ""
