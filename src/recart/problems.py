"""Errors that a user can act on: every problem of a run, listed at once, each with its mend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

__all__ = ["InputError", "Problem", "Problems"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with the input.

    `code` is stable and searchable (`E-RNA-002`). `what` says what is wrong with the values found,
    `mend` what the user can do. The rest says where: fields that do not apply stay empty.
    """

    code: str
    what: str
    mend: str
    file: str = ""
    sample: str = ""
    column: str = ""
    feature: str = ""
    count: int | None = None
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`CODE file=… sample=… column=… | what | mend: …` on one line."""
        where = [
            f"{name}={value}"
            for name, value in (
                ("file", self.file),
                ("sample", self.sample),
                ("column", self.column),
                ("feature", self.feature),
                ("count", self.count),
            )
            if value not in ("", None)
        ]
        if self.examples:
            where.append(f"first: {', '.join(self.examples[:5])}")
        return f"{self.code} {' '.join(where)} | {self.what} | mend: {self.mend}"


class InputError(ValueError):
    """Input that cannot be used. `problems` holds every problem found, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{len(self.problems)} problem(s) with the input:\n{lines}")


@dataclass
class Problems:
    """Collects errors and warnings while checking; `raise_if_any` ends the check."""

    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    max_per_code: int = 50

    def error(self, problem: Problem) -> None:
        """Add a problem that forbids going on."""
        self.errors.append(problem)

    def warn(self, problem: Problem) -> None:
        """Add a problem that is recorded and shown, but does not forbid going on."""
        self.warnings.append(problem)

    def _shown(self) -> Iterator[Problem]:
        seen: dict[str, int] = {}
        for problem in self.errors:
            seen[problem.code] = seen.get(problem.code, 0) + 1
            if seen[problem.code] <= self.max_per_code:
                yield problem

    def raise_if_any(self) -> None:
        """Raise one `InputError` with all errors (at most `max_per_code` of a kind)."""
        if self.errors:
            raise InputError(self._shown())
