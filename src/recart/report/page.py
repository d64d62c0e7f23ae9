"""Writes the report: one HTML page that needs nothing beside it, and its numbers as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recart.data.split import Kind
from recart.evaluation.intervals import UNMEASURED, Interval
from recart.evaluation.outcomes import OutcomeAssessment
from recart.report.audit_table import audit_groups
from recart.report.canvas import svg
from recart.report.content import ReportContent, ReportFigure
from recart.report.numbers import report_numbers
from recart.report.numbers_in_words import number, thousands
from recart.report.outcome_figures import outcome_figures
from recart.report.performance import patient_figures, probability_figures, ranking_figures
from recart.report.wording import RUNGS
from recart.training.atomic_files import write_atomically

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["COLUMNS", "drawn", "page_environment", "told_outcomes", "write_report"]

COLUMNS = {
    "auprc": "AUPRC",
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "brier": "Brier",
    "brier_skill": "Brier skill",
}


def write_report(content: ReportContent, path: Path) -> None:
    """Write the page to `path` and its numbers beside it, same name with `.json`.

    Both are written beside their target first and then renamed, so no half page is ever seen.
    """
    numbers = json.dumps(report_numbers(content), indent=1, allow_nan=False)
    write_atomically(path.with_suffix(".json"), f"{numbers}\n".encode())
    write_atomically(path, _render(content).encode())


def _render(content: ReportContent) -> str:
    assessment = content.assessment
    return (
        page_environment()
        .get_template("page.html.j2")
        .render(
            content=content,
            question=content.question,
            assessment=assessment,
            model=assessment.model,
            best=assessment.best_baseline,
            lead=assessment.headline,
            differences={difference.baseline: difference for difference in assessment.differences},
            rungs=[(int(level), name) for level, name in RUNGS.items()],
            level=int(assessment.claim.level),
            columns=COLUMNS,
            unmeasured=UNMEASURED.get(Kind(assessment.model.metrics.kind), ""),
            ranking=drawn(ranking_figures(assessment), "ranking"),
            worth=drawn(probability_figures(assessment, content.question), "worth"),
            each=drawn(patient_figures(assessment, content.question), "each"),
            finished=False,
            **told_outcomes(content.outcomes),
            of_the_run=drawn(content.figures, "run"),
            audit=None if content.findings is None else audit_groups(content.findings),
            rows=_rows(content),
        )
    )


def told_outcomes(outcomes: Sequence[OutcomeAssessment]) -> dict[str, Any]:
    """What a page holds of levels and times: each with its figures, and the one that leads."""
    return {
        "whole": next((own for own in outcomes if own.leads and own.model.values), None),
        "outcomes": [
            (outcome, drawn(outcome_figures(outcome), f"outcome{number}-"))
            for number, outcome in enumerate(outcomes)
        ],
    }


def page_environment() -> Environment:
    """Where the parts of pages stand, with what they print numbers by."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("recart.report", "page_parts"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, span=_span, thousands=thousands)
    return environment


def drawn(figures: Sequence[ReportFigure], prefix: str) -> list[dict[str, Any]]:
    """Figures as a page holds them; `prefix` is unique on it."""
    from markupsafe import Markup

    return [
        {
            "title": figure.title,
            "caption": figure.caption,
            "alt": figure.alt,
            # drawn by matplotlib, which escapes every text it is given
            "svg": Markup(svg(figure.figure, f"{prefix}{index}")),
        }
        for index, figure in enumerate(figures)
    ]


def _rows(content: ReportContent) -> list[dict[Any, Any]]:
    """One row a bag, highest probability first, with its spread over repeats."""
    model = content.assessment.model
    table = model.scores.table.assign(spread=model.per_repeat["spread"])
    ordered = table.sort_values("probability", ascending=False).reset_index()
    return ordered.to_dict(orient="records")


def _span(interval: Interval | None, signed: bool = False) -> str:
    """`low to high`, empty where there is none."""
    if interval is None or (math.isnan(interval.low) and math.isnan(interval.high)):
        return ""
    return f"{number(interval.low, signed)} to {number(interval.high, signed)}"
