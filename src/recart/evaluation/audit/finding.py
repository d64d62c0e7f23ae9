"""What one check of the audit found, in words and numbers that the report can show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

__all__ = ["Finding", "Severity"]


class Severity(IntEnum):
    """How bad a finding is. `LEAK` forbids any claim; `WARNING` stands beside it in the report.

    `UNKNOWN` is what could not be checked, and why: it is not a pass.
    """

    PASSED = 0
    UNKNOWN = 1
    WARNING = 2
    LEAK = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One result of one check, passed or not.

    Attributes
    ----------
    check
        Name of the check: `non_interference`, `canary`, `confounders`, `structure`, `identity`,
        `targets`, `time` or `provenance`.
    code
        Stable and searchable, such as `A-NI-001`; the same code for the same kind of finding.
    severity
        How bad it is.
    what
        One sentence with the values found: pseudonyms and column names only, no ids and no paths.
    mend
        What the user can do; empty where nothing is to be done.
    evidence
        Numbers and words behind it, plain Python, for `audit.json` and the table of the report.
    """

    check: str
    code: str
    severity: Severity
    what: str
    mend: str = ""
    evidence: Mapping[str, object] = field(default_factory=dict)
