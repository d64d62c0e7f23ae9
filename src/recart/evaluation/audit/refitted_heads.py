"""Whether a run's heads are what their recipe makes of the labels that they may have seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from recart.evaluation.audit.finding import Finding, Severity
from recart.evaluation.permutation import Permutation
from recart.training.run_directory import RunDirectory
from recart.training.versions import versions

__all__ = ["refitted_heads"]

# of a measure whose chance is .5; fitted anew on one machine, heads give the same numbers. On
# another one those that stop early may stop elsewhere
_SAME: Final = 0.02
_SURE: Final = 0.05


def refitted_heads(
    check: str, permutation: Permutation | None, run: RunDirectory
) -> Iterator[Finding]:
    """One finding where a permutation test has fitted heads again to the given labels, too.

    A file says by itself whom its head saw. If heads that were fitted to these patients rank the
    held-out ones worse than those in the files do, the files saw more than they say, or other
    versions of recart or its packages fitted them otherwise.
    """
    if permutation is None or permutation.refitted is None or permutation.observed is None:
        return
    files, again = permutation.observed, permutation.refitted
    severity, mend = Severity.PASSED, ""
    if abs(files - again) > _SAME:
        sure = files - again > _SURE and _made_with(versions(), run)
        severity = Severity.LEAK if sure else Severity.WARNING
        mend = "train anew; where the run is of other versions or another machine, with these"
    yield Finding(
        check=check,
        code="A-PR-010",
        severity=severity,
        what=f"heads in the files: {permutation.measure} {files:.3f}; fitted again to the labels "
        f"of the patients that they name: {again:.3f}",
        mend=mend,
        evidence={"files": files, "again": again, "repeats": permutation.repeats},
    )


def _made_with(here: dict[str, str | None], run: RunDirectory) -> bool:
    made = json.loads(run.versions.read_text(encoding="utf-8"))
    return all(made.get(name) == own for name, own in here.items())
