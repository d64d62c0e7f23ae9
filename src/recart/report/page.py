"""Writes the report: one HTML page that needs nothing beside it, and its numbers as JSON."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from recart.evaluation.assessment import Assessed
from recart.evaluation.claims import ClaimLevel
from recart.evaluation.intervals import Interval
from recart.report.canvas import svg
from recart.report.content import ReportContent, ReportFigure, performance_figures

__all__ = ["report_numbers", "write_report"]

_RUNGS = {
    ClaimLevel.NOT_IDENTIFIABLE: "Not identifiable",
    ClaimLevel.NO_EVIDENCE: "No evidence of signal",
    ClaimLevel.SIGNAL: "Signal, not better than a baseline",
    ClaimLevel.BETTER: "Better than the baselines",
}
_COLUMNS = {
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
    _write(path.with_suffix(".json"), json.dumps(report_numbers(content), indent=1) + "\n")
    _write(path, _render(content))


def report_numbers(content: ReportContent) -> dict[str, Any]:
    """Every number of the page in plain Python; what is not defined is None."""
    assessment = content.assessment
    numbers = {
        "question": asdict(content.question),
        "claim": {
            "level": int(assessment.claim.level),
            "rung": _RUNGS[assessment.claim.level],
            "headline": assessment.claim.headline,
            "text": assessment.claim.text,
        },
        "flow": [asdict(step) for step in content.flow],
        "left_out": dict(content.left_out),
        "model": _numbers(assessment.model),
        "baselines": [_numbers(baseline) for baseline in assessment.baselines],
        "differences": [asdict(difference) for difference in assessment.differences],
        "predictions": assessment.model.scores.table.reset_index().to_dict(orient="records"),
        "resamples": len(assessment.resampling.weights),
        "provenance": dict(content.provenance),
        "notes": list(content.notes),
    }
    return {name: _without_nan(value) for name, value in numbers.items()}


def _numbers(assessed: Assessed) -> dict[str, Any]:
    return {
        "name": assessed.name,
        "metrics": asdict(assessed.metrics),
        "auroc_interval": (
            None if assessed.auroc_interval is None else asdict(assessed.auroc_interval)
        ),
        "bootstrap": {name: asdict(interval) for name, interval in assessed.bootstrap.items()},
    }


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _render(content: ReportContent) -> str:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def drawn(figure: ReportFigure, index: int) -> dict[str, Any]:
        # drawn by matplotlib, which escapes every text it is given
        picture = Markup(svg(figure.figure, f"figure{index}"))
        return {"title": figure.title, "caption": figure.caption, "alt": figure.alt, "svg": picture}

    assessment = content.assessment
    figures = [*performance_figures(assessment, content.question), *content.figures]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = _number
    environment.filters["span"] = _span
    source = resources.files("recart.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        content=content,
        question=content.question,
        assessment=assessment,
        model=assessment.model,
        best=assessment.best_baseline,
        lead=assessment.differences[0] if assessment.differences else None,
        differences={difference.baseline: difference for difference in assessment.differences},
        rungs=[(int(level), name) for level, name in _RUNGS.items()],
        level=int(assessment.claim.level),
        columns=_COLUMNS,
        figures=[drawn(figure, index) for index, figure in enumerate(figures)],
        rows=assessment.model.scores.table.sort_values("probability", ascending=False)
        .reset_index()
        .to_dict(orient="records"),
    )


def _number(value: float | None, signed: bool = False) -> str:
    """Two digits; a true minus; a dash where there is no number."""
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    text = f"{value:+.2f}" if signed else f"{value:.2f}"
    return text.replace("-", "\N{MINUS SIGN}")


def _span(interval: Interval | None, signed: bool = False) -> str:
    """`low to high`, empty where there is none."""
    if interval is None:
        return ""
    return f"{_number(interval.low, signed)} to {_number(interval.high, signed)}"


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
