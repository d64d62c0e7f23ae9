"""The page of a finished model on another cohort, and the folder that it stands in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from omegaconf import DictConfig

from recart.data.split import Kind
from recart.evaluation.assessment import Assessment
from recart.evaluation.intervals import UNMEASURED
from recart.inference.new_folder import new_folder
from recart.inference.outside.launch import EvaluatedOutside, evaluate_outside
from recart.report.content import ReportFigure
from recart.report.figures import roc
from recart.report.flow import features_left_out
from recart.report.outside_numbers import (
    counts,
    outside_flow,
    outside_numbers,
    outside_question,
    provenance,
    refusals,
)
from recart.report.page import COLUMNS, drawn, page_environment, told_outcomes
from recart.report.performance import patient_figures, probability_figures
from recart.report.question import Question
from recart.training.progress import say

__all__ = ["report_outside", "write_outside"]

_PAGE: Final = "evaluation.html"


def report_outside(config: DictConfig) -> Path:
    """Evaluate a finished model on the patients of `config.data`; returns the page."""
    evaluated = evaluate_outside(config)
    page = write_outside(evaluated, Path(config.output))
    found, claim = counts(evaluated), evaluated.measured.claim
    unit = evaluated.model.unit
    of = {name: sum(found[name].values()) + n for name, n in found["neither_known"].items()}
    say(
        f"{found['bags']} {unit}s: {of['evaluated']} evaluated, {of['refused']} refused, "
        f"{found['in_training']} had been in training, "
        f"{found['no_outcome']} without an outcome"
    )
    say(f"{claim.headline}. {claim.text}")
    say(f"report: {page}")
    return page


def write_outside(evaluated: EvaluatedOutside, folder: Path) -> Path:
    """Write page, numbers and predictions into a new folder, whole or not at all.

    Returns
    -------
    The page.
    """
    numbers = json.dumps(outside_numbers(evaluated), indent=1, allow_nan=False)
    page = _render(evaluated)
    measured = evaluated.measured
    with new_folder(folder) as part:
        table = evaluated.found.patients.assign(label=measured.labels, standing=measured.standing)
        table = table.join(evaluated.had.targets)
        table.rename_axis("bag").reset_index().to_csv(part / "predictions.csv", index=False)
        (part / "evaluation.json").write_text(f"{numbers}\n", encoding="utf-8")
        (part / _PAGE).write_text(page, encoding="utf-8")
    return folder / _PAGE


def _render(evaluated: EvaluatedOutside) -> str:
    measured, question = evaluated.measured, outside_question(evaluated)
    assessment = measured.assessment
    own = evaluated.model.classes
    return (
        page_environment()
        .get_template("outside.html.j2")
        .render(
            question=question,
            asked={
                "endpoint": evaluated.model.about["endpoint"],
                "positive": own[0],
                "negative": own[1],
                "column": evaluated.endpoint.column,
            },
            values=evaluated.values,
            watermark=evaluated.model.watermark,
            claim=measured.claim,
            before=evaluated.before,
            counts=counts(evaluated),
            notes=_notes(evaluated),
            content={
                "flow": outside_flow(evaluated),
                "left_out": features_left_out(evaluated.new.store.dropped),
                "subgroups": measured.subgroups,
            },
            recognised=evaluated.model.trust is not None,
            reasons=refusals(evaluated),
            model=None if assessment is None else assessment.model,
            finished=True,
            **told_outcomes(measured.outcomes),
            columns=COLUMNS,
            resamples=0 if assessment is None else len(assessment.resampling.weights),
            unmeasured=UNMEASURED[Kind.EXTERNAL],
            threshold=measured.threshold,
            figures=[] if assessment is None else drawn(_figures(assessment, question), "figure"),
            sets=measured.sets,
            provenance=provenance(evaluated),
        )
    )


def _figures(assessment: Assessment, question: Question) -> Sequence[ReportFigure]:
    model = assessment.model
    ranking = []
    if model.metrics.auroc is not None:
        ranking.append(
            ReportFigure(
                title="ROC curve",
                caption="Scores of the members together. The band is the pointwise 95% patient "
                "bootstrap.",
                alt=f"ROC curve of the model, area {model.metrics.auroc:.2f}, with its band.",
                figure=roc(assessment),
            )
        )
    return [
        *ranking,
        *probability_figures(assessment, question),
        *patient_figures(assessment, question),
    ]


def _notes(evaluated: EvaluatedOutside) -> list[str]:
    """What a reader has to know before the numbers."""
    notes = []
    if evaluated.model.trust is None:
        notes.append(
            "The model was never evaluated itself: it has no prediction sets, refuses nobody, and "
            "recognises patients of its training by their names alone."
        )
    return notes
