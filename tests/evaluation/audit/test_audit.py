"""The audit: a check that fails is no pass, what is private stays, a leak ends all claims."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest
from omegaconf import DictConfig

from recart.config.build import build_each
from recart.config.compose import compose
from recart.evaluation.audit.audit import AUDIT_FILE, Audit, run_audit
from recart.evaluation.audit.check import Check
from recart.evaluation.audit.finding import Finding, Severity
from recart.evaluation.claims import Claim, ClaimLevel, refused
from recart.training.run_directory import RunDirectory

SECRET = "QQPERSON-7"


def finding(severity: Severity = Severity.PASSED, **evidence: Any) -> Finding:
    return Finding(check="own", code="A-X-001", severity=severity, what="seen", evidence=evidence)


@final
@dataclass
class Own(Check):
    """Says what it is given, then fails if it is to."""

    said: tuple[Finding, ...]
    error: Exception | None = None

    @property
    def name(self) -> str:
        return "own"

    @property
    def trains(self) -> bool:
        return False

    def findings(self, _evaluated: Any, _run: Any) -> Iterator[Finding]:
        yield from self.said
        if self.error is not None:
            raise self.error


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path, DictConfig({}), {})


def audited(run: RunDirectory, **checks: Check) -> Audit:
    nothing: Any = None
    return run_audit(checks, nothing, run)


def test_what_was_found_is_written_whole(run: RunDirectory) -> None:
    audit = audited(run, a=Own((finding(n=np.int64(3), x=float("nan"), y=(1, {"b"})),)))
    assert audit.passed
    content = json.loads((run.path / AUDIT_FILE).read_text())
    assert content["passed"] is True
    assert content["findings"][0]["evidence"] == {"n": 3, "x": None, "y": [1, ["b"]]}
    assert content["findings"][0]["severity"] == "passed"
    assert not list(run.path.glob("*.part"))


def test_a_check_that_fails_is_unknown_and_keeps_its_message(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = audited(run, a=Own((finding(),), KeyError(SECRET)), b=Own((finding(),)))
    assert [own.severity for own in audit.findings] == [0, Severity.UNKNOWN, 0]
    failed = audit.findings[1]
    assert (failed.code, failed.evidence["exception"]) == ("A-AUDIT-001", "KeyError")
    assert failed.evidence["file"] == "test_audit.py"
    assert not audit.passed
    written = (run.path / AUDIT_FILE).read_text() + "".join(capsys.readouterr())
    assert SECRET not in written


def test_a_check_that_says_nothing_has_not_passed(run: RunDirectory) -> None:
    audit = audited(run, a=Own(()))
    assert (audit.worst, audit.passed) == (Severity.UNKNOWN, False)
    assert audit.findings[0].code == "A-AUDIT-002"


def test_no_audit_is_no_pass() -> None:
    assert not Audit().passed
    assert Audit().summary == "nothing was audited"


def test_a_leak_forbids_the_best_of_claims() -> None:
    best = Claim(level=ClaimLevel.BETTER, headline="Predicts it", sentences=("AUROC .99.",))
    after = refused(best, ["canary: it sings."])
    assert after.level is ClaimLevel.NOT_IDENTIFIABLE
    assert after.sentences == ("canary: it sings.",)
    assert "Predicts" not in after.headline
    already = Claim(level=ClaimLevel.NOT_IDENTIFIABLE, headline="x", sentences=("Too few.",))
    assert refused(already, ["leak."]).sentences == ("leak.", "Too few.")


def test_evaluation_is_quick_unless_more_is_asked_for() -> None:
    quick = build_each(compose(["run=x"], "evaluate").audit)
    full = build_each(compose(["run=x", "audit=full"], "evaluate").audit)
    none = build_each(compose(["run=x", "audit=none"], "evaluate").audit)
    assert not [name for name, check in quick.items() if check.trains]
    assert {"non_interference", "canary"} <= {n for n, check in full.items() if check.trains}
    assert set(quick) <= set(full)
    assert none == {}
    without = compose(["run=x", "audit=full", "~audit.canary"], "evaluate")
    assert "canary" not in build_each(without.audit)
