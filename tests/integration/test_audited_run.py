"""A trained run through the whole audit, by the configuration that `evaluate.py` composes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import pytest

from recart.config.build import build_each
from recart.config.compose import compose
from recart.evaluation.audit.audit import AUDIT_FILE
from recart.evaluation.audit.check import Check
from recart.evaluation.audit.finding import Finding, Severity
from recart.evaluation.claims import ClaimLevel
from recart.evaluation.launch import evaluate_run
from recart.training.run_directory import RunDirectory

pytestmark = [pytest.mark.slow]

# as little as shows that each check runs
SMALL = [
    "audit.non_interference.epochs=1",
    "audit.non_interference.cells=20",
    "audit.canary.permutations=30",
    "audit.canary.epochs=1",
    "audit.canary.cells=40",
]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> RunDirectory:
    """A copy beside the prepared cohort, for what an audit writes."""
    copy = trained.parent / tmp_path.name
    shutil.copytree(trained, copy, dirs_exist_ok=True)
    return RunDirectory.open(copy)


def test_a_clean_run_passes_the_checks_that_train(run: RunDirectory, place: Any) -> None:
    checks = build_each(compose([f"run={run.path}", "audit=full", *SMALL], "evaluate").audit)
    before = {path.name: path.read_bytes() for path in run.checkpoints.glob("*.ckpt")}
    training = {name: check for name, check in checks.items() if check.trains}
    evaluated = evaluate_run(run, training)
    by_check = {own.check: own for own in evaluated.audit.findings}
    assert by_check["non_interference"].severity is Severity.PASSED
    assert "0 differing bytes in 12 retrainings" in by_check["non_interference"].what
    assert by_check["canary"].severity is not Severity.LEAK
    assert by_check["canary"].evidence["permutations"] == 30
    assert "reused" in by_check["canary"].what
    assert not evaluated.audit.leaks
    # the run is as it was, and what was written names nobody
    assert {p.name: p.read_bytes() for p in run.checkpoints.glob("*.ckpt")} == before
    assert not list(run.path.glob(".audit*"))
    written = (run.path / AUDIT_FILE).read_text()
    assert len(json.loads(written)["findings"]) == len(evaluated.audit.findings)
    assert not [secret for secret in (*place.secrets, str(place.folder)) if secret in written]


@final
class Alarm(Check):
    """Finds a leak in everything."""

    @property
    def name(self) -> str:
        return "alarm"

    @property
    def trains(self) -> bool:
        return False

    def findings(self, _evaluated: Any, _run: Any) -> Iterator[Finding]:
        yield Finding(check="alarm", code="A-X-001", severity=Severity.LEAK, what="it leaks")


def test_a_leak_forbids_any_claim(run: RunDirectory) -> None:
    evaluated = evaluate_run(run, {"alarm": Alarm()})
    assert evaluated.assessment.claim.level is ClaimLevel.NOT_IDENTIFIABLE
    assert "alarm: it leaks" in evaluated.assessment.claim.text
    assert not evaluate_run(run).audit.findings
