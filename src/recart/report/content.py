"""What a report holds: filled by an evaluation, drawn by the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from matplotlib.figure import Figure

from recart.evaluation.assessment import Assessment
from recart.evaluation.audit.finding import Finding
from recart.evaluation.outcomes import OutcomeAssessment
from recart.evaluation.subgroups import Subgroup
from recart.report.checklists import FilledChecklist
from recart.report.confounding import Association, ConfounderRow
from recart.report.model_card import CardSection
from recart.report.question import FlowStep, Question

__all__ = ["Looks", "ReportContent", "ReportFigure"]


class Looks(Protocol):
    """How often the outer folds of a cohort were looked at, and with how many configurations."""

    @property
    def looks(self) -> int:
        """Evaluations of these folds, this one included."""

    @property
    def configurations(self) -> int:
        """Different configurations among them."""


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
        Steps from files to evaluated bags, in order, with what each left out.
    left_out
        Genes, proteins and receptor chains that were set aside, by reason.
    confounders, associations
        What design and measurement say of the endpoint by themselves: models, and columns.
    findings
        What the audit found; None where it was not run.
    ledger
        How often the outer folds were looked at; None where nobody counted.
    checklists, card
        The reporting checklists, filled as far as they can be, and the model card.
    figures
        Figures of the run: training curves, latent space.
    provenance
        How it was made, by name: configuration digest, split digest, seeds, versions, members.
    notes
        Warnings of the run that a reader should know.
    outcomes
        Measures of endpoints that are more than yes or no.
    subgroups
        Measures within parts of the patients.
    """

    question: Question
    assessment: Assessment
    flow: tuple[FlowStep, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    confounders: tuple[ConfounderRow, ...] = ()
    associations: tuple[Association, ...] = ()
    findings: tuple[Finding, ...] | None = None
    ledger: Looks | None = None
    checklists: tuple[FilledChecklist, ...] = ()
    card: tuple[CardSection, ...] = ()
    figures: tuple[ReportFigure, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    outcomes: tuple[OutcomeAssessment, ...] = ()
    subgroups: tuple[Subgroup, ...] = ()
