"""Fillers of the checklists: each words one answer from what a run knows of itself."""

from __future__ import annotations

from recart.report.facts import RunFacts
from recart.report.fillers import of_the_cohort, of_the_evaluation, of_the_model
from recart.report.fillers.filler import Filler

__all__ = ["FILLERS", "what_the_run_knows"]

FILLERS: dict[str, Filler] = {
    name: getattr(module, name)
    for module in (of_the_cohort, of_the_model, of_the_evaluation)
    for name in module.__all__
}


def what_the_run_knows(facts: RunFacts) -> dict[str, str]:
    """The answers by name of their filler; those that the run can't give are not in it."""
    said = {name: fill(facts) for name, fill in FILLERS.items()}
    return {name: text for name, text in said.items() if text}
