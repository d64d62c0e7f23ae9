"""The figures that every report has: ranking, probabilities, and what they are worth."""

from __future__ import annotations

from typing import Final

from recart.data.split import Kind
from recart.evaluation.assessment import Assessment
from recart.report.content import ReportFigure
from recart.report.figures import forest, predictions, roc
from recart.report.probability_figures import calibration, decision, recalibration
from recart.report.question import Question

__all__ = ["patient_figures", "performance_figures", "probability_figures", "ranking_figures"]

# what the ROC curve ranks
_SCORES: Final = {
    Kind.PARTITION: "Held-out scores, standardised within each fold.",
    Kind.GROUPS: "Held-out scores, standardised within each group.",
    Kind.PAIRS: "Mean held-out scores; the AUROC that is given is that of comparisons inside "
    "the pairs, not the area under this curve.",
    Kind.EXTERNAL: "Mean scores of the models on the held-out patients.",
}


def performance_figures(assessment: Assessment, question: Question) -> tuple[ReportFigure, ...]:
    """Draw all of them; the ranking ones only where an AUROC is given."""
    return (
        *ranking_figures(assessment),
        *probability_figures(assessment, question),
        *patient_figures(assessment, question),
    )


def ranking_figures(assessment: Assessment) -> tuple[ReportFigure, ...]:
    """AUROCs beside each other and the ROC curve; none where the AUROC is refused."""
    model = assessment.model
    if model.metrics.auroc is None or model.auroc_interval is None:
        return ()
    interval = model.auroc_interval
    widened = "" if model.scores.elsewhere else ", widened for cross-validation"
    return (
        ReportFigure(
            title="AUROC beside the baselines",
            caption=f"Points with 95% intervals{widened}. All ran in the same folds. The dashed "
            "line is chance.",
            alt=f"Forest plot: model {model.metrics.auroc:.2f} "
            f"({interval.low:.2f} to {interval.high:.2f}); "
            + "; ".join(
                f"{one.name} {one.metrics.auroc:.2f}"
                for one in assessment.baselines
                if one.metrics.auroc is not None
            ),
            figure=forest(assessment),
        ),
        ReportFigure(
            title="ROC curve",
            caption=f"{_SCORES[Kind(model.metrics.kind)]} The band is the pointwise 95% patient "
            "bootstrap of the model.",
            alt=f"ROC curve of the model, area {model.metrics.auroc:.2f}, with bootstrap "
            f"band, and of {len(assessment.baselines)} baselines.",
            figure=roc(assessment),
        ),
    )


def probability_figures(assessment: Assessment, question: Question) -> tuple[ReportFigure, ...]:
    """Calibration, as a curve only where it says something, and the decision curve."""
    model = assessment.model
    found = model.calibration
    slope = "not given" if found.slope is None else f"{found.slope:.2f}"
    numbers = f"in the large {found.in_the_large:.2f}, slope {slope}"
    figures = [
        ReportFigure(
            title="Calibration in two numbers",
            caption="In the large: 0 is perfect, above 0 the probabilities are too low. Slope: 1 "
            "is perfect, below 1 they are too extreme. Intervals 95%, patients as clusters; the "
            f"dashed lines mark perfection. {found.refusal} {found.curve_refusal}".strip(),
            alt=f"Calibration {numbers}, with intervals.",
            figure=recalibration(found),
        )
    ]
    if not found.curve_refusal:
        figures.append(
            ReportFigure(
                title="Calibration curve",
                caption="Observed share in ten groups of rising probability, with 95% Wilson "
                f"intervals; ticks are single {question.unit}s, positive above, negative below.",
                alt="Observed share of positives against predicted probability in ten groups.",
                figure=calibration(model.scores),
            )
        )
    curve = model.decision_curve
    figures.append(
        ReportFigure(
            title="Decision curve",
            caption=f"Net benefit per {question.unit} of acting above a threshold probability, "
            "with a pointwise 95% patient bootstrap, beside acting on all and on none."
            + (
                " Exploratory: with fewer than 100 patients no decision should lean on it."
                if curve.exploratory
                else ""
            ),
            alt="Net benefit of the model by threshold, beside treating all and treating none.",
            figure=decision(curve, assessment.model.metrics.prevalence),
        )
    )
    return tuple(figures)


def patient_figures(assessment: Assessment, question: Question) -> tuple[ReportFigure, ...]:
    """The held-out probability of every bag over repeats."""
    model = assessment.model
    several = model.metrics.n_repeats > 1
    return (
        ReportFigure(
            title="Held-out probabilities",
            caption=f"One row a {question.unit}, sorted. "
            + (
                f"Pale dots are the {model.metrics.n_repeats} repeats, the line their mean and "
                "standard deviation: "
                if several
                else "The line is the range over members: "
            )
            + "disagreement of models, not the error of a prediction.",
            alt=f"Sorted held-out probabilities of {model.metrics.n_bags} {question.unit}s by "
            "true class.",
            figure=predictions(model, question.positive, question.negative),
        ),
    )
