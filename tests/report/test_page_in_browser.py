"""The page as a browser shows it: quiet, drawn, readable on a desk and in a hand, and alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recart.evaluation.audit.finding import Finding, Severity
from recart.evaluation.outcomes import OutcomeAssessment
from recart.evaluation.subgroups import Subgroup
from recart.report.checklists import CHECKLISTS, Checklist
from recart.report.model_card import model_card
from recart.report.page import write_report


@pytest.fixture
def full_page(
    make_content: Any,
    outcomes: tuple[OutcomeAssessment, ...],
    parts_of_patients: tuple[Subgroup, ...],
    tmp_path: Path,
) -> Path:
    """A page with every section, its names and texts long."""
    findings = tuple(
        Finding(
            check=check,
            code=f"A-XX-{number:03d}",
            severity=severity,
            what=f"{check} found a_column_whose_name_is_long_and_has_no_space_at_all_{number}",
            mend="do that",
            evidence={"patients_by_level_and_class": [[number, 2]] * 20, "p": 0.5},
        )
        for number, (check, severity) in enumerate(
            zip(("identity", "time", "confounders", "provenance"), Severity, strict=True)
        )
    )
    content = make_content(
        repeats=3,
        baselines={"composition": 1.0, "batch only": 0.0, "a baseline of a rather long name": 1.5},
        parts={
            "findings": findings,
            "card": model_card({}, {}),
            "outcomes": outcomes,
            "subgroups": parts_of_patients,
            "checklists": tuple(Checklist.load(name).fill({}, {}) for name in CHECKLISTS),
        },
    )
    write_report(content, tmp_path / "report.html")
    return tmp_path / "report.html"


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_in_a_browser(
    look_at_page: Callable[[Path, int, int], list[str]], full_page: Path, width: int
) -> None:
    assert look_at_page(full_page, width, 8) == []


@pytest.mark.slow
def test_a_link_of_the_page_leads_to_its_finding(browser: Any, full_page: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(full_page.as_uri())
    page.click("a[href='#finding-2']")
    assert page.evaluate("document.querySelector('#finding-2').matches(':target')")
    page.close()
