"""What a check of the audit is: it looks at an evaluated run and says what it found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from recart.evaluation.audit.finding import Finding, Severity

if TYPE_CHECKING:
    from recart.evaluation.launch import Evaluated
    from recart.training.run_directory import RunDirectory

__all__ = ["Check"]


class Check(ABC):
    """One question that the audit asks of a run; it says at least one `Finding`, also if passed."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in tables, as in `Finding.check`."""

    @property
    @abstractmethod
    def trains(self) -> bool:
        """Whether it trains models again: minutes, so it runs for `audit=full` only."""

    @abstractmethod
    def findings(self, evaluated: Evaluated, run: RunDirectory) -> Iterator[Finding]:
        """Look at the run, read-only; every finding in turn."""

    def _finding(
        self, code: str, severity: Severity, what: str, mend: str = "", **evidence: Any
    ) -> Finding:
        """A finding of this check; `evidence` by name."""
        return Finding(
            check=self.name,
            code=code,
            severity=severity,
            what=what,
            mend=mend,
            evidence=evidence,
        )
