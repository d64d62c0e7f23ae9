"""What a report holds: filled by an evaluation, drawn by the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from recart.evaluation.assessment import Assessment
from recart.report.figures import calibration, forest, predictions, roc

__all__ = ["FlowStep", "Question", "ReportContent", "ReportFigure", "performance_figures"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What was asked of the cohort.

    Attributes
    ----------
    endpoint, positive, negative
        Name of the endpoint and of its two classes.
    unit
        What one prediction is made for: `patient` or `sample`.
    decision
        When a prediction is made, in words: which samples may enter.
    cohort
        What the cohort is, in words.
    """

    endpoint: str
    positive: str
    negative: str
    unit: str
    decision: str
    cohort: str


@dataclass(frozen=True, kw_only=True)
class FlowStep:
    """One step from what was read to what was evaluated; a count of None is not known."""

    name: str
    patients: int | None
    samples: int | None
    cells: int | None


@dataclass(frozen=True, kw_only=True)
class ReportFigure:
    """A figure with its title, its caption, and what it shows in words for who cannot see it."""

    title: str
    caption: str
    alt: str
    figure: Figure


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """Everything on the page.

    Attributes
    ----------
    question, assessment
        What was asked and what came out.
    flow
        Steps from files to evaluated bags, in order.
    left_out
        What was left out on the way, by reason.
    figures
        Figures beyond those of performance: training curves, latent space.
    provenance
        How it was made, by name: configuration digest, split digest, seeds, versions, members.
    notes
        Warnings of the run that a reader should know.
    """

    question: Question
    assessment: Assessment
    flow: tuple[FlowStep, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    figures: tuple[ReportFigure, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def performance_figures(assessment: Assessment, question: Question) -> tuple[ReportFigure, ...]:
    """Draw the figures that every report has; the ranking ones only where an AUROC is given."""
    model = assessment.model
    figures = []
    if model.metrics.auroc is not None and model.auroc_interval is not None:
        interval = model.auroc_interval
        figures = [
            ReportFigure(
                title="AUROC beside the baselines",
                caption="Points with intervals, widened for cross-validation. All ran in the same "
                "folds. The dashed line is chance.",
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
                caption="Held-out scores, standardised within each fold. The band is the pointwise "
                "95% patient bootstrap of the model.",
                alt=f"ROC curve of the model, area {model.metrics.auroc:.2f}, with bootstrap "
                f"band, and of {len(assessment.baselines)} baselines.",
                figure=roc(assessment),
            ),
        ]
    smaller = min(model.metrics.n_positive, model.metrics.n_bags - model.metrics.n_positive)
    coarse = (
        f" Coarse: with {smaller} in the smaller class no finer statement holds."
        if smaller < 100
        else ""
    )
    figures += [
        ReportFigure(
            title="Held-out probabilities",
            caption=f"One row a {question.unit}, sorted. The line is the range over repeats and "
            "members: disagreement of models, not the error of a prediction.",
            alt=f"Sorted held-out probabilities of {model.metrics.n_bags} {question.unit}s by "
            "true class.",
            figure=predictions(model.scores, question.positive, question.negative),
        ),
        ReportFigure(
            title="Calibration",
            caption="Observed share in groups of rising probability, with 95% Wilson intervals; "
            f"ticks are single {question.unit}s, positive above, negative below." + coarse,
            alt="Observed share of positives against predicted probability in a few groups.",
            figure=calibration(model.scores),
        ),
    ]
    return tuple(figures)
