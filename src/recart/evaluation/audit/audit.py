"""Runs the checks of the audit, and holds what they found for report and claim."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from recart.evaluation.audit.check import Check
from recart.evaluation.audit.finding import Finding, Severity
from recart.training.progress import say

if TYPE_CHECKING:
    from recart.evaluation.launch import Evaluated
    from recart.training.run_directory import RunDirectory

__all__ = ["AUDIT_FILE", "Audit", "run_audit"]

AUDIT_FILE: Final = "audit.json"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What all checks found. Without findings nothing was audited, which is not a pass.

    `seconds` says how long each check took, by its name in the configuration.
    """

    findings: tuple[Finding, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def worst(self) -> Severity:
        """The worst severity; `UNKNOWN` where nothing was audited."""
        return max((own.severity for own in self.findings), default=Severity.UNKNOWN)

    @property
    def passed(self) -> bool:
        """Whether something was audited and all of it passed."""
        return self.worst is Severity.PASSED

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """Findings that forbid any claim."""
        return tuple(own for own in self.findings if own.severity is Severity.LEAK)

    @property
    def summary(self) -> str:
        """One line for the terminal."""
        if not self.findings:
            return "nothing was audited"
        counts = Counter(own.severity for own in self.findings)
        words = [f"{counts[s]} {s.name.lower()}" for s in sorted(Severity, reverse=True)]
        return f"{len(self.findings)} findings: {', '.join(words)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain Python that JSON can hold."""
        return {
            "worst": self.worst.name.lower(),
            "passed": self.passed,
            "seconds": {name: round(spent, 1) for name, spent in self.seconds.items()},
            "findings": [
                {
                    "check": own.check,
                    "code": own.code,
                    "severity": own.severity.name.lower(),
                    "what": own.what,
                    "mend": own.mend,
                    "evidence": _plain(own.evidence),
                }
                for own in self.findings
            ],
        }


def run_audit(checks: Mapping[str, Check], evaluated: Evaluated, run: RunDirectory) -> Audit:
    """Run the checks one after another and write `audit.json` into the run's folder.

    A check that fails, or says nothing, is a finding of its own: what could not be checked is not
    passed. Of an error only the type and the line are kept; its message may hold what is private.
    """
    findings: list[Finding] = []
    seconds: dict[str, float] = {}
    for name, check in checks.items():
        say(f"audit: {check.name}")
        started, before = time.monotonic(), len(findings)
        try:
            other = check.trains and evaluated.cohort.bags.outcome is not None
            told = [_other_endpoint(check.name)] if other else check.findings(evaluated, run)
            for finding in told:
                findings.append(finding)
                if finding.severity is not Severity.PASSED:
                    say(f"  {finding.severity.name} {finding.code}: {finding.what}")
        except Exception as error:
            findings.append(_failed(check.name, error))
            say(f"  UNKNOWN: the check stopped with {type(error).__name__}")
        if len(findings) == before:
            findings.append(_silent(check.name))
        seconds[name] = time.monotonic() - started
    audit = Audit(findings=tuple(findings), seconds=seconds)
    run.write_json(AUDIT_FILE, audit.to_dict())
    return audit


def _failed(check: str, error: Exception) -> Finding:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    file = Path(trace.tb_frame.f_code.co_filename).name if trace is not None else ""
    return Finding(
        check=check,
        code="A-AUDIT-001",
        severity=Severity.UNKNOWN,
        what=f"the check stopped with {type(error).__name__}; what it was to find is not known",
        mend="mend what stopped it, or report it",
        evidence={
            "exception": type(error).__name__,
            "file": file,
            "line": trace.tb_lineno if trace is not None else None,
        },
    )


def _other_endpoint(check: str) -> Finding:
    return Finding(
        check=check,
        code="A-AUDIT-003",
        severity=Severity.UNKNOWN,
        what="not run: it trains again with other labels, which it can make of yes and no only",
        mend="run it on a binary endpoint of the same cohort (endpoint=binary)",
    )


def _silent(check: str) -> Finding:
    return Finding(
        check=check,
        code="A-AUDIT-002",
        severity=Severity.UNKNOWN,
        what="the check said nothing, not even that it passed",
        mend="report it: a check says at least one finding",
    )


def _plain(value: object) -> Any:
    """Plain Python; numbers that are not finite become None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=str)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)
