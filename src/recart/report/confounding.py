"""Confounders beside the model: what design and measurement say of the endpoint by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

from recart.evaluation.assessment import Assessment
from recart.evaluation.audit.finding import Finding
from recart.evaluation.comparison import Difference
from recart.evaluation.intervals import Interval

__all__ = ["Association", "ConfounderRow", "associations", "confounder_rows"]

# baselines that see no biology: name, and what they see
_SEES: Final = {
    "batch only": "batch, site and product of the samples, and no cell",
    "quality only": "number of cells, depth, genes, mitochondrial and receptor share",
    "clinical only": "the clinical covariates of the patients",
}


@dataclass(frozen=True, kw_only=True)
class ConfounderRow:
    """One model without biology, in the same folds.

    Attributes
    ----------
    name, sees
        Which, and what it sees.
    auroc, interval
        How well that alone orders the patients; None where refused.
    difference
        The model minus it; None where refused.
    """

    name: str
    sees: str
    auroc: float | None
    interval: Interval | None
    difference: Difference | None

    @property
    def reading(self) -> str:
        """What the numbers say, in words."""
        if self.auroc is None or self.interval is None:
            return "not given, like the AUROC of the model"
        if self.interval.low > 0.5:
            return "tells the endpoint by itself: find out why before the model is believed"
        return "not told apart from chance"


@dataclass(frozen=True, kw_only=True)
class Association:
    """A column of the design against the endpoint, one row a patient: the audit's numbers."""

    column: str
    cramers_v: float
    p: float
    p_holm: float


def associations(findings: Sequence[Finding]) -> tuple[Association, ...]:
    """The associations among the findings of an audit, strongest first."""
    names = [one.name for one in fields(Association)]
    found = [
        Association(**{name: one.evidence[name] for name in names})  # type: ignore[arg-type]
        for one in findings
        if all(name in one.evidence for name in names)
    ]
    return tuple(sorted(found, key=lambda one: one.cramers_v, reverse=True))


def confounder_rows(assessment: Assessment) -> tuple[ConfounderRow, ...]:
    """The baselines without biology, strongest first."""
    differences = {one.baseline: one for one in assessment.differences}
    return tuple(
        ConfounderRow(
            name=one.name,
            sees=_SEES[one.name],
            auroc=one.metrics.auroc,
            interval=one.auroc_interval,
            difference=differences.get(one.name),
        )
        for one in assessment.baselines
        if one.name in _SEES
    )
