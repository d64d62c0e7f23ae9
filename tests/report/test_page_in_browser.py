"""The page as a browser shows it: quiet, drawn, readable on a desk and in a hand, and alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recart.evaluation.audit.finding import Finding, Severity
from recart.report.checklists import CHECKLISTS, Checklist
from recart.report.model_card import model_card
from recart.report.page import write_report


@pytest.fixture
def full_page(make_content: Any, tmp_path: Path) -> Path:
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
            "checklists": tuple(Checklist.load(name).fill({}, {}) for name in CHECKLISTS),
        },
    )
    write_report(content, tmp_path / "report.html")
    return tmp_path / "report.html"


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_in_a_browser(browser: Any, full_page: Path, width: int) -> None:
    said: list[str] = []
    asked: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(full_page.as_uri())

    assert said == []
    assert asked == [full_page.as_uri()]

    # closed lists are opened: what they hold must fit too
    page.evaluate("document.querySelectorAll('details').forEach(list => { list.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = """width => [...document.querySelectorAll('main *')]
        .filter(one => !one.closest('.scroll, svg'))
        .filter(one => one.getBoundingClientRect().right > width + 1)
        .map(one => one.outerHTML.slice(0, 80))"""
    assert page.evaluate(beyond, width) == []

    sizes = page.evaluate(
        """[...document.querySelectorAll('figure svg')].map(svg => {
            const outer = svg.getBoundingClientRect();
            const inner = svg.querySelector('g').getBoundingClientRect();
            return [outer.width, outer.height, inner.width, inner.height];
        })"""
    )
    assert len(sizes) == page.evaluate("document.querySelectorAll('figure').length") == 5
    assert all(side > 60 for size in sizes for side in size), sizes

    small = page.evaluate(
        """[...document.querySelectorAll('main p, main td, main dd, main li, main figcaption')]
            .filter(one => one.textContent.trim())
            .map(one => parseFloat(getComputedStyle(one).fontSize))"""
    )
    assert min(small) >= 12
    page.close()


@pytest.mark.slow
def test_every_link_of_the_page_leads_somewhere(browser: Any, full_page: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(full_page.as_uri())
    lost = page.evaluate(
        """[...document.querySelectorAll('a')].map(link => link.getAttribute('href'))
            .filter(href => !document.querySelector(href))"""
    )
    assert lost == []
    page.click("a[href='#finding-2']")
    assert page.evaluate("document.querySelector('#finding-2').matches(':target')")
    page.close()
