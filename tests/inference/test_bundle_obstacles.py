"""A bundle is refused unless every check ran to its end and found no leak."""

from __future__ import annotations

import pytest

from recart.config.build import build_each
from recart.config.compose import compose
from recart.evaluation.audit.audit import Audit
from recart.evaluation.audit.finding import Finding, Severity
from recart.inference.bundle.obstacles import obstacles, watermark


def found(check: str, code: str, severity: Severity) -> Finding:
    return Finding(check=check, code=code, severity=severity, what="something", mend="mend it")


def audited(asked: str) -> tuple[Finding, ...]:
    """What the checks of a configuration say where all is well, one of them warning."""
    names = [own.name for own in build_each(compose(["run=r", asked], "evaluate").audit).values()]
    warned = found(names[0], "A-X-002", Severity.WARNING)
    return (warned, *(found(name, "A-X-000", Severity.PASSED) for name in names[1:]))


@pytest.mark.parametrize("asked", ["audit=quick", "audit=full"])
def test_whole_audits_are_no_obstacle(asked: str) -> None:
    assert obstacles(Audit(findings=audited(asked))) == []


def test_a_check_that_can_not_know_is_no_obstacle() -> None:
    """Checks that train have no other labels of a survival endpoint; they say so."""
    unknown = found("canary", "A-AUDIT-003", Severity.UNKNOWN)
    assert obstacles(Audit(findings=(*audited("audit=quick"), unknown))) == []


@pytest.mark.parametrize("code", ["A-AUDIT-001", "A-AUDIT-002"])
def test_a_check_that_did_not_end_is_not_passed(code: str) -> None:
    *rest, last = audited("audit=full")
    audit = Audit(findings=(*rest, found(last.check, code, Severity.UNKNOWN)))
    (problem,) = obstacles(audit)
    assert problem.code == "E-BUNDLE-012"
    assert last.check in problem.what
    assert "bundle_force=true" in problem.mend
    assert f"did not end ({last.check})" in watermark(audit)


def test_an_audit_of_one_check_is_no_audit() -> None:
    first, *others = audited("audit=quick")
    audit = Audit(findings=(first,))
    problems = obstacles(audit)
    assert {own.code for own in problems} == {"E-BUNDLE-013"}
    assert len(problems) == len(others)
    for own in others:
        assert any(own.check in problem.what for problem in problems)
        assert own.check in watermark(audit)


def test_all_reasons_stand_together() -> None:
    audit = Audit(findings=(found("identity", "A-ID-001", Severity.LEAK),))
    codes = [own.code for own in obstacles(audit)]
    assert codes[0] == "E-BUNDLE-008"
    assert set(codes[1:]) == {"E-BUNDLE-013"}
    assert "found a leak (A-ID-001), and with an audit that left out" in watermark(audit)
    assert [own.code for own in obstacles(Audit())] == ["E-BUNDLE-009"]
    assert "without an audit" in watermark(Audit())
