"""The audit as the page shows it: findings by check, and the kinds of leakage each looked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from recart.evaluation.audit.finding import Finding, Severity

__all__ = ["Audit", "LeakageKind", "Listed", "audit_groups"]

_MARKS = {
    Severity.PASSED: "passed",
    Severity.UNKNOWN: "unknown",
    Severity.WARNING: "warning",
    Severity.LEAK: "leak",
}


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One finding with the anchor of its evidence."""

    anchor: str
    finding: Finding
    mark: str
    evidence: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class LeakageKind:
    """One kind of leakage (Kapoor & Narayanan 2023), and what the checks for it found.

    `mark` is the worst of their findings, `not looked for` where none of them ran.
    """

    code: str
    name: str
    mark: str
    evidence: tuple[Listed, ...]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """All findings, by check in the order they came, and by kind of leakage.

    `counts` is by mark, worst first.
    """

    groups: Mapping[str, tuple[Listed, ...]]
    kinds: tuple[LeakageKind, ...]
    counts: Mapping[str, int]


def audit_groups(findings: Sequence[Finding]) -> Audit:
    """Arrange the findings of an audit for the page."""
    listed = [
        Listed(
            anchor=f"finding-{number}",
            finding=finding,
            mark=_MARKS[finding.severity],
            evidence=tuple(
                (str(name).replace("_", " "), _words(value))
                for name, value in finding.evidence.items()
            ),
        )
        for number, finding in enumerate(findings, start=1)
    ]
    groups: dict[str, tuple[Listed, ...]] = {}
    for one in listed:
        name = one.finding.check.replace("_", " ")
        groups[name] = (*groups.get(name, ()), one)
    return Audit(
        groups=groups,
        kinds=tuple(_kind(entry, listed) for entry in _leakage_kinds()),
        counts={
            mark: sum(one.mark == mark for one in listed)
            for severity, mark in sorted(_MARKS.items(), reverse=True)
        },
    )


def _kind(entry: Mapping[str, Any], listed: Sequence[Listed]) -> LeakageKind:
    looked = [one for one in listed if one.finding.check in entry["checks"]]
    worst = max((one.finding.severity for one in looked), default=None)
    # what did not pass, or else one finding a check, is what a reader wants to see first
    shown = [one for one in looked if one.finding.severity == worst]
    return LeakageKind(
        code=entry["code"],
        name=entry["name"],
        mark="not looked for" if worst is None else _MARKS[worst],
        evidence=tuple(shown[:4]),
    )


def _leakage_kinds() -> list[dict[str, Any]]:
    import yaml

    text = resources.files("recart.report").joinpath("items/leakage.yaml").read_text("utf-8")
    kinds: list[dict[str, Any]] = yaml.safe_load(text)["kinds"]
    return kinds


def _words(value: object) -> str:
    """A value of the evidence in a few words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_words(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        shown = ", ".join(_words(item) for item in value[:12])
        return f"{shown} and {len(value) - 12} more" if len(value) > 12 else shown
    return str(value)
