"""The page and its JSON: whole, self-contained, and saying no more than the numbers allow."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from recart.evaluation.claims import ClaimLevel
from recart.report.page import report_numbers, write_report

_VOID = {"meta", "br", "img", "link", "input", "hr"}


class _Reader(HTMLParser):
    """Text, attributes and unclosed tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.mismatched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.mismatched.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _read(path: Path) -> _Reader:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


@pytest.mark.parametrize(
    "settings",
    [
        {"effect": 0.0},
        {"effect": 2.0},
        {"effect": 6.0},
        {"baselines": {}},
        {"per_patient": 3},
        {"leave_one_out": True},
        {"n": 12},
    ],
    ids=str,
)
def test_page_is_whole_and_loads_nothing(
    make_content: Any, tmp_path: Path, settings: dict[str, Any]
) -> None:
    content = make_content(**settings)
    write_report(content, tmp_path / "report.html")
    page = _read(tmp_path / "report.html")
    assert page.mismatched == []
    assert page.open == []
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    for name, value in page.attributes:
        if name in {"href", "src", "xlink:href", "srcset", "action"}:
            assert value.startswith(("#", "data:image/png;base64,")), value
    assert content.assessment.claim.headline in " ".join(page.words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_words_stay_below_the_numbers(make_content: Any, tmp_path: Path) -> None:
    seen = set()
    for effect, baselines in [
        (0.2, None),
        (2.5, {"composition": 2.5}),
        (2.5, {}),
        (6.0, {"batch only": 0.0}),
    ]:
        content = make_content(effect=effect, baselines=baselines, n=60)
        write_report(content, tmp_path / "report.html")
        level = content.assessment.claim.level
        seen.add(level)
        both = (tmp_path / "report.html").read_text() + (tmp_path / "report.json").read_text()
        assert ("predicts response" in both.lower()) is (level == ClaimLevel.BETTER)
    assert seen == {ClaimLevel.NO_EVIDENCE, ClaimLevel.SIGNAL, ClaimLevel.BETTER}


def test_every_number_of_the_table_stands_on_the_page(make_content: Any, tmp_path: Path) -> None:
    content = make_content()
    write_report(content, tmp_path / "report.html")
    words = set(_read(tmp_path / "report.html").words)
    for one in (content.assessment.model, *content.assessment.baselines):
        assert one.name in words
        for value in (one.metrics.auroc, one.metrics.auprc, one.metrics.brier):
            assert f"{value:.2f}" in words
        interval = one.auroc_interval
        assert f"{interval.low:.2f} to {interval.high:.2f}" in words
    for difference in content.assessment.differences:
        assert f"{difference.auroc:+.2f}".replace("-", "\N{MINUS SIGN}") in words
    for bag in content.assessment.model.scores.table.index:
        assert bag in words
    assert {"12,345", "1,345", "day 0", "sha256 abc, seed 0"} <= words


def test_json_holds_the_same_numbers(make_content: Any, tmp_path: Path) -> None:
    content = make_content()
    write_report(content, tmp_path / "report.html")
    read = json.loads((tmp_path / "report.json").read_text())
    assert read == report_numbers(content)
    assessment = content.assessment
    assert read["model"]["metrics"]["auroc"] == assessment.model.metrics.auroc
    assert read["differences"][0]["interval"]["low"] == assessment.differences[0].interval.low
    assert [one["name"] for one in read["baselines"]] == ["composition", "batch only"]
    assert len(read["predictions"]) == 40
    assert read["flow"][1]["samples"] is None


def test_a_refused_auroc_is_null_and_says_why(make_content: Any, tmp_path: Path) -> None:
    content = make_content(leave_one_out=True)
    write_report(content, tmp_path / "report.html")
    read = json.loads((tmp_path / "report.json").read_text())
    assert read["model"]["metrics"]["auroc"] is None
    assert read["differences"] == []
    page = " ".join(_read(tmp_path / "report.html").words)
    assert "single class" in page
    assert "ROC curve" not in page


def test_what_users_write_is_escaped(make_content: Any, tmp_path: Path) -> None:
    content = make_content(cohort="<b onclick=x>&cohort", baselines={"<i>odd</i> $x": 1.0})
    write_report(content, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "<b onclick" not in text
    assert "<i>odd" not in text
    assert "&lt;b onclick=x&gt;&amp;cohort" in text


def test_each_picture_is_described(make_content: Any, tmp_path: Path) -> None:
    write_report(make_content(), tmp_path / "report.html")
    page = _read(tmp_path / "report.html")
    assert page.tags.count("figure") == page.tags.count("figcaption") == 4
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert sum("0." in label for label in labels) >= 2


def test_the_same_run_gives_the_same_page(make_content: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(make_content(), tmp_path / f"{name}.html")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
