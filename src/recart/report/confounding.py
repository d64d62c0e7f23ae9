"""Confounders beside the model: what design and measurement say of the endpoint by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from recart.evaluation.assessment import Assessment
from recart.evaluation.comparison import Difference
from recart.evaluation.intervals import Interval

__all__ = ["ConfounderRow", "confounder_rows"]

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
            return "tells the endpoint by itself: the cohort's design or handling follows it"
        return "not told apart from chance"


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
