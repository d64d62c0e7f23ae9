"""Confounders: does the way that samples were made tell the endpoint, without any biology."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import pandas as pd

from recart.evaluation.alignment import aligned_design, design_of
from recart.evaluation.assessment import Assessed
from recart.evaluation.audit.association import Permutations, cramers_v, holm, level_table
from recart.evaluation.audit.check import Check
from recart.evaluation.audit.evaluated_bags import labelled, per_patient
from recart.evaluation.audit.finding import Finding, Severity
from recart.evaluation.baselines.confounders import design_table
from recart.evaluation.intervals import auroc_interval
from recart.evaluation.predictions import FloatArray
from recart.training.cohort_setup import PreparedCohort

if TYPE_CHECKING:
    from recart.evaluation.launch import Evaluated
    from recart.training.run_directory import RunDirectory

__all__ = ["Confounders"]


@final
@dataclass(frozen=True, kw_only=True)
class Confounders(Check):
    """Batch, site and product against the endpoint, and models that see nothing else.

    A design column that gives the label away, but for few exceptions, forbids any claim. A model
    of the design or of the quality of cells alone is a red flag where the lower bound of its AUROC
    is above .5, or where it does as well as a model that seems to find a signal.

    Attributes
    ----------
    rivals
        Names of the baselines without biology.
    level
        Coverage of the two-sided interval of their AUROC.
    p
        Holm-adjusted p-value below which a design column is called associated.
    draws
        Permutations behind the p-value of a column with more than two levels.
    """

    rivals: Sequence[str]
    level: float
    p: float
    draws: int

    @property
    def name(self) -> str:
        """Name in tables."""
        return "confounders"

    @property
    def trains(self) -> bool:
        """It reads what the baselines said."""
        return False

    def findings(self, evaluated: Evaluated, run: RunDirectory) -> Iterator[Finding]:  # noqa: ARG002
        """Alignment, association of each column, and each model without biology."""
        yield from self._design(evaluated.cohort)
        baselines = {own.name: own for own in evaluated.assessment.baselines}
        for name in self.rivals:
            if name in baselines:
                yield from self._rival(baselines[name], evaluated.assessment.model)
            else:
                yield self._finding(
                    "A-CF-009",
                    Severity.UNKNOWN,
                    f"the baseline '{name}' was not run",
                    "put it back into baselines and evaluate again",
                )

    def _design(self, cohort: PreparedCohort) -> Iterator[Finding]:
        store, bags = cohort.store, cohort.bags
        if design_table(store).empty:
            yield self._finding(
                "A-CF-009",
                Severity.UNKNOWN,
                "no table names a batch, site or product: confounding was not looked for",
                "map them with data.columns",
            )
            return
        rows = labelled(bags)
        for sentence in aligned_design(store, bags):
            yield self._finding(
                "A-CF-001",
                Severity.LEAK,
                sentence,
                "no method mends this: samples of both classes are needed at every level",
            )
        yield from self._associations(*per_patient(design_of(store, bags, rows), bags, rows))

    def _associations(self, table: pd.DataFrame, y: FloatArray) -> Iterator[Finding]:
        columns = list(table.columns)
        permutations = Permutations.draw(y, self.draws)
        values = {column: table[column].fillna("not given").to_numpy() for column in columns}
        p = {column: permutations.of_levels(values[column]) for column in columns}
        for column, adjusted in holm(p).items():
            v = cramers_v(values[column], y)
            counts = level_table(values[column], y)
            yield self._finding(
                "A-CF-002",
                Severity.WARNING if adjusted < self.p else Severity.PASSED,
                f"{column} against the endpoint: Cramer's V {v:.2f}, exact p {p[column]:.2g} "
                f"({len(counts)} levels, {len(y)} patients)",
                f"compare within {column}, or leave one {column} out at a time"
                if adjusted < self.p
                else "",
                column=column,
                cramers_v=v,
                p=p[column],
                p_holm=adjusted,
                patients_by_level_and_class=np.asarray(counts).tolist(),
            )

    def _rival(self, rival: Assessed, model: Assessed) -> Iterator[Finding]:
        auroc = rival.metrics.auroc
        if auroc is None:
            yield self._finding(
                "A-CF-009", Severity.UNKNOWN, f"'{rival.name}': {rival.metrics.refusal}"
            )
            return
        interval = auroc_interval(rival.scores, level=self.level)
        numbers = (
            f"AUROC {auroc:.2f}, {self.level:.0%} interval {interval.low:.2f} to "
            f"{interval.high:.2f}"
        )
        above = interval.low > 0.5
        yield self._finding(
            "A-CF-003",
            Severity.WARNING if above else Severity.PASSED,
            f"'{rival.name}' {'tells' if above else 'does not tell'} the endpoint: {numbers}",
            "find out which of its columns does so; what the model finds may be the same"
            if above
            else "",
            baseline=rival.name,
            auroc=auroc,
            low=interval.low,
            high=interval.high,
        )
        own, reach = model.metrics.auroc, model.auroc_interval
        if own is None or reach is None or reach.low <= 0.5:
            return  # no signal is claimed, so there is none to explain away
        beaten = own > auroc
        yield self._finding(
            "A-CF-004",
            Severity.PASSED if beaten else Severity.WARNING,
            f"the model's AUROC {own:.2f} is {'above' if beaten else 'not above'} that of "
            f"'{rival.name}', {auroc:.2f}",
            "" if beaten else "nothing shows that the model reads biology",
            baseline=rival.name,
            model=own,
            rival=auroc,
        )
