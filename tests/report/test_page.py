"""The page and its JSON: whole, self-contained, and saying no more than the numbers allow."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from recart.evaluation.audit.finding import Finding, Severity
from recart.evaluation.claims import ClaimLevel
from recart.evaluation.intervals import Interval
from recart.evaluation.needed_baselines import NEEDED
from recart.evaluation.outcomes import OutcomeAssessment
from recart.evaluation.permutation import Permutation
from recart.evaluation.subgroups import Subgroup
from recart.report.confounding import confounder_rows
from recart.report.model_card import CardSection
from recart.report.numbers import report_numbers
from recart.report.outcome_figures import outcome_figures
from recart.report.page import write_report


@dataclass(frozen=True)
class Ledger:
    """What counts looks."""

    looks: int
    configurations: int


TITLES = {"ordinal": ["Levels of"], "survival": ["Survival by risk of", "AUC over time of"]}
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


ALL = {names[0]: 0.0 for names in NEEDED}
LEVELS = {
    ClaimLevel.NOT_IDENTIFIABLE: {"n": 12},
    ClaimLevel.NO_EVIDENCE: {"effect": 0.2, "n": 60},
    ClaimLevel.SIGNAL: {"effect": 2.5, "baselines": {"composition": 2.5}, "n": 60},
    ClaimLevel.BETTER: {"effect": 6.0, "baselines": ALL, "n": 120},
    ClaimLevel.EXTERNAL: {"effect": 6.0, "baselines": ALL, "n": 120, "outside": True},
}


@pytest.mark.parametrize("level", list(ClaimLevel), ids=lambda level: level.name)
def test_words_stay_below_the_numbers(make_content: Any, tmp_path: Path, level: ClaimLevel) -> None:
    card = (CardSection(title="Model", paragraphs=("A model.",)),)
    content = make_content(parts={"card": card}, **LEVELS[level])
    assert content.assessment.claim.level == level
    write_report(content, tmp_path / "report.html")
    both = (tmp_path / "report.html").read_text() + (tmp_path / "report.json").read_text()
    assert ("predicts response" in both.lower()) is (level >= ClaimLevel.BETTER)
    assert ("outside cohort has confirmed" in both) is (level < ClaimLevel.EXTERNAL)
    current = re.search(r'aria-current="step"><b>(L\d)</b>', both)
    assert current is not None
    assert current[1] == f"L{int(level)}"


def test_no_calibration_curve_below_a_hundred_of_each_class(
    make_content: Any, tmp_path: Path
) -> None:
    for n, given in ((60, False), (220, True)):
        content = make_content(n=n)
        write_report(content, tmp_path / "report.html")
        page = " ".join(_read(tmp_path / "report.html").words)
        assert ("Calibration curve" in page) is given
        assert ("events and" in page) is not given
        assert "Calibration in two numbers" in page
        assert "Decision curve" in page


def test_permutation_and_looks_are_told(make_content: Any, tmp_path: Path) -> None:
    write_report(make_content(), tmp_path / "without.html")
    page = " ".join(_read(tmp_path / "without.html").words)
    assert "No permutation test was run" in page
    assert "Nobody counted" in page
    refused = Permutation.refused("A class is too small.")
    write_report(make_content(permutation=refused), tmp_path / "refused.html")
    page = " ".join(_read(tmp_path / "refused.html").words)
    assert page.count("A class is too small.") == 2  # in the claim, and where p would be
    assert "no p, for the reason given" in page
    assert "not tested" not in page
    found = Permutation(p=0.005, k=199, observed=0.8, null_mean=0.51, null_sd=0.09, repeats=2)
    content = make_content(parts={"ledger": Ledger(7, 3)}, permutation=found, repeats=3)
    write_report(content, tmp_path / "with.html")
    page = " ".join(_read(tmp_path / "with.html").words)
    assert "p = 0.005" in page
    assert "199 times" in page
    assert "over the first 2 of 3 repeats" in page
    assert "3 different configurations" in page
    read = json.loads((tmp_path / "with.json").read_text())
    assert read["ledger"] == {"looks": 7, "configurations": 3}
    assert read["permutation"]["null_mean"] == 0.51


def test_evidence_of_the_audit_is_where_the_links_lead(make_content: Any, tmp_path: Path) -> None:
    findings = (
        Finding(
            check="non_interference",
            code="A-NI-001",
            severity=Severity.LEAK,
            what="features differ in fold 2",
            mend="fit them on training patients",
            evidence={"folds": [2], "gap": 0.25},
        ),
        Finding(check="time", code="A-TI-001", severity=Severity.PASSED, what="all before day 1"),
    )
    write_report(make_content(parts={"findings": findings}), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page = _read(tmp_path / "report.html")
    links = {value[1:] for name, value in page.attributes if name == "href"}
    ids = {value for name, value in page.attributes if name == "id"}
    assert {"finding-1", "finding-2"} <= links
    assert links <= ids
    assert "1 leak" in text
    assert {"features differ in fold 2", "all before day 1", "0.25"} <= {
        word.strip() for word in page.words
    }
    read = json.loads((tmp_path / "report.json").read_text())
    assert read["audit"][0]["severity"] == "leak"
    assert read["audit"][0]["evidence"] == {"folds": [2], "gap": 0.25}


def test_confounders_stand_in_a_table_of_their_own(make_content: Any, tmp_path: Path) -> None:
    content = make_content(baselines={"batch only": 3.0, "quality only": 0.0}, n=60)
    rows = confounder_rows(content.assessment)
    assert [row.name for row in rows] == ["batch only", "quality only"]
    assert rows[0].reading.startswith("tells the endpoint")
    assert rows[1].reading == "not told apart from chance"
    write_report(replace(content, confounders=rows), tmp_path / "report.html")
    words = _read(tmp_path / "report.html").words
    assert rows[0].reading in words
    assert json.loads((tmp_path / "report.json").read_text())["confounders"][0]["auroc"] > 0.5


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
    assert {"12,345", "777", "day 0", "sha256 abc, seed 0", "no label"} <= words


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
    assert page.tags.count("figure") == page.tags.count("figcaption") == 5
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert sum("0." in label for label in labels) >= 2


def test_a_measure_that_is_not_defined_has_no_interval_and_the_page_says_why(
    make_content: Any, outcomes: tuple[OutcomeAssessment, ...], tmp_path: Path
) -> None:
    (own,) = [one for one in outcomes if one.kind == "survival"]
    name = list(own.model.values)[-1]
    interval = Interval(low=math.nan, high=math.nan, level=0.95, method="patient bootstrap")
    model = replace(
        own.model,
        values={**own.model.values, name: math.nan},
        intervals={**own.model.intervals, name: interval},
    )
    write_report(
        make_content(parts={"outcomes": (replace(own, model=model),)}), tmp_path / "report.html"
    )
    words = " ".join(_read(tmp_path / "report.html").words)
    assert "\N{EN DASH} to" not in words
    assert "A dash: the month is past what was followed" in words


@pytest.mark.parametrize("kind", ["ordinal", "survival"])
def test_a_whole_endpoint_is_told_before_its_yes_and_no(
    make_content: Any, outcomes: tuple[OutcomeAssessment, ...], tmp_path: Path, kind: str
) -> None:
    (own,) = [one for one in outcomes if one.kind == kind]
    content = make_content(parts={"outcomes": (own,)})
    write_report(content, tmp_path / "report.html")
    page = _read(tmp_path / "report.html")
    words = [word.strip() for word in page.words if word.strip()]
    first, rival, face = (
        words.index(f"{own.measure[0].upper()}{own.measure[1:]} of the model"),
        words.index(f"Best baseline, {own.baselines[0].name}"),
        words.index("AUROC, CR"),
    )
    assert first < rival < face < words.index(content.assessment.claim.text)
    assert words[first + 1 : first + 3] == ["0.61", "95% interval 0.40 to 0.80"]
    assert words[rival + 1] == "0.62"
    assert words[face + 1] == f"{content.assessment.model.metrics.auroc:.2f}"
    assert "AUROC of the model" not in words
    for title in TITLES[kind]:
        assert f"{title} {own.name}" in words
    (told,) = json.loads((tmp_path / "report.json").read_text())["outcomes"]
    assert told["model"]["values"] == own.model.values
    assert len(told["table"]) == 40
    # of several, one that does not lead has its section and no card
    write_report(
        make_content(parts={"outcomes": (replace(own, leads=False),)}), tmp_path / "part.html"
    )
    words = [word.strip() for word in _read(tmp_path / "part.html").words]
    assert "AUROC of the model" in words
    assert f"{own.name} as a whole" in words
    assert any("elsewhere on this page is of another outcome" in word for word in words)


def test_scores_of_two_classes_are_not_called_levels(
    outcomes: tuple[OutcomeAssessment, ...],
) -> None:
    table = outcomes[0].table
    scores = table[[name for name in table if not str(name).startswith("level:")]]
    for own, said in ((table, "level that is expected"), (scores, "held-out score")):
        (drawn,) = outcome_figures(replace(outcomes[0], table=own))
        assert drawn.figure.axes[0].get_xlabel() == said
        assert ("expectation over" in drawn.caption) is (own is table)


def test_curves_of_risk_groups_are_of_the_held_out_patients(
    outcomes: tuple[OutcomeAssessment, ...],
) -> None:
    survival, over_time = outcome_figures(outcomes[1])
    (axes,) = survival.figure.axes
    groups = [text.get_text() for text in axes.get_legend().get_texts()]
    counts = [list(map(int, re.findall(r"\d+", group))) for group in groups]
    assert len(counts) == 3
    assert [sum(column) for column in zip(*counts, strict=True)] == [40, 30]
    assert {count for count, _ in counts} <= {13, 14}
    curves = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert len(curves) == 3
    for curve in curves:
        share = curve.get_ydata()
        assert share[0] == 1
        assert (share[1:] <= share[:-1]).all()
    assert "month 12 0.61" in over_time.alt


def test_the_same_run_gives_the_same_page(make_content: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(make_content(), tmp_path / f"{name}.html")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_parts_of_the_patients_stand_with_their_numbers_or_the_reason(
    make_content: Any, parts_of_patients: tuple[Subgroup, ...], tmp_path: Path
) -> None:
    content = make_content(parts={"subgroups": parts_of_patients})
    write_report(content, tmp_path / "report.html")
    text = " ".join(" ".join(_read(tmp_path / "report.html").words).split())
    assert "sex: f 12 11 0.64 0.41 to 0.83 0.52 0.57" in text
    assert "sex: not given 7 9 too few: fewer than 8 patients of a class" in text
    assert "27 values 20 20 more than 12 values are no groups" in text
    told = json.loads((tmp_path / "report.json").read_text())["subgroups"]
    assert [own["auroc"] for own in told] == [0.64, None, None]
    write_report(make_content(), tmp_path / "none.html")
    assert "Subgroup" not in _read(tmp_path / "none.html").words
