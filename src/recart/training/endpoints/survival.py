"""Survival without progression, right-censored: Cox regression, and survival at named months."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recart.data.checks.labels import resolve_labels
from recart.data.outcome import LABEL, REASON
from recart.models.cox import breslow_hazard, fit_cox, log_partial_likelihood
from recart.problems import InputError, Problem, Problems
from recart.training.endpoints.endpoint import Array, Endpoint, Solution

__all__ = ["EVENT", "NONE", "TIME", "SurvivalEndpoint"]

TIME: Final = "time"
# first words of the two classes, which sets of classes call them by
EVENT: Final = "event"
NONE: Final = "none"
# patients are dealt into folds by quarters of the follow-up time beside event and censoring
_GRADES: Final = 4
# below so many with an event, or so many without, folds can't have some of both
_FEW: Final = 5
_DAYS: Final = 30.4375  # of a month
# keeps the log odds finite where no event has come by the landmark
_LEAST_HAZARD: Final = 1e-9


@final
@dataclass(frozen=True, kw_only=True)
class SurvivalEndpoint(Endpoint):
    """Time to progression or death, or to the last visit without.

    `time` and `event` are columns: months or days (`per_month` of the unit make a month), and
    whether it ended in the event: 1 or 0, yes or no, or values of `happened` and `censored`.
    `months` are those at which survival is told; the binary face asks for the event by the month
    `landmark`, which must be one of them. Patients without time or event, with an event value of
    `exclude`, or censored before time began (at 0) are left out; and so is who had the event before
    `decision_day` (in days) or was not followed past it.
    """

    time: str
    event: str
    months: Sequence[float]
    landmark: float
    per_month: float = 1.0
    happened: Sequence[Any] | None = None
    censored: Sequence[Any] | None = None
    exclude: Sequence[Any] = ()
    decision_day: float | None = None

    def __post_init__(self) -> None:
        """Refuse months that are no times."""
        sound = all(month > 0 for month in self.months) and self.per_month > 0
        if not sound or self.landmark not in list(self.months):
            raise InputError(
                [
                    Problem(
                        code="E-LAB-008",
                        column="endpoint.months",
                        what=f"months={list(self.months)}, landmark={self.landmark}, "
                        f"per_month={self.per_month}",
                        mend="give months above 0, the landmark among them",
                    )
                ]
            )

    @property
    def kind(self) -> str:
        """Survival."""
        return "survival"

    @property
    def columns(self) -> Sequence[str]:
        """Time and event."""
        return (self.time, self.event)

    @property
    def classes(self) -> tuple[str, str]:
        """The event by the landmark, and followed past it without."""
        return f"{EVENT} by month {self.landmark:g}", f"{NONE} by month {self.landmark:g}"

    def resolve(self, values: pd.DataFrame) -> pd.DataFrame:
        """`label` (1 event, 0 censored, NaN) and `time` in months."""
        problems = Problems()
        time = pd.to_numeric(values[self.time], errors="coerce") / self.per_month
        unread = values[self.time].notna() & time.isna()
        for bad, what, mend in (
            (
                unread,
                "values that are no numbers",
                "give times as numbers, and empty where unknown",
            ),
            (time < 0, "times below 0", "count from infusion; leave out who was never infused"),
        ):
            if bad.any():
                problems.error(
                    Problem(
                        code="E-LAB-009",
                        column=self.time,
                        what=f"{what}: {values[self.time][bad].astype(str).unique()[:5].tolist()}",
                        mend=mend,
                        count=int(bad.sum()),
                    )
                )
        try:
            event = self._event(values[self.event])
        except InputError as error:
            for problem in error.problems:
                problems.error(problem)
        problems.raise_if_any()
        early = (time == 0) & (event == 0)
        none = event.isna() | time.isna()
        reason = np.where(none, f"no {self.time} or {self.event}, or not evaluable", "")
        reason = np.where(early & ~none, "censored before the window began (time 0)", reason)
        over = self._over(time, event) & ~none & ~early
        reason = np.where(over, f"event or censored by decision day {self.decision_day}", reason)
        # an event at time 0 is one: the shortest time there is
        left_out = none | early | over
        return pd.DataFrame({LABEL: event.where(~left_out), TIME: time, REASON: reason})

    def _over(self, months: pd.Series, event: pd.Series) -> pd.Series:
        """Whose time was over when the decision was made; an event of that day is still ahead."""
        if self.decision_day is None:
            return months.isna() & False
        days = (months * _DAYS).round(6)  # of a time in days, the very day
        return (days < self.decision_day) | ((event == 0) & (days <= self.decision_day))

    def _event(self, values: pd.Series) -> pd.Series:
        given = self.happened is not None or self.censored is not None
        present = values.dropna()
        if not given and present.nunique() == 1:  # nobody was censored, or nobody progressed
            return resolve_labels(values, [1, "True", "true", "yes"], [0, "False", "false", "no"])
        try:
            return resolve_labels(values, self.happened, self.censored, list(self.exclude))
        except InputError as error:
            mend = (
                "set endpoint.happened=[...] and endpoint.censored=[...]; list values such as NE "
                "that are neither under data.exclude"
            )
            raise InputError(replace(own, mend=mend) for own in error.problems) from None

    def too_few(self, resolved: pd.DataFrame, at_least: int) -> list[Problem]:
        """`at_least` events, and as many on both sides of the landmark."""
        known = resolved[resolved[LABEL].notna()]
        face = self.binary(known[[TIME, LABEL]].to_numpy(dtype=float))
        counts = {
            "have an event": int((known[LABEL] == 1).sum()),
            f"have an event by month {self.landmark:g}": int((face == 1).sum()),
            f"are followed past month {self.landmark:g} without": int((face == 0).sum()),
        }
        return [
            Problem(
                code="E-LAB-004",
                what=f"{number} patients {words}; cross-validation needs at least {at_least}",
                mend="add patients or follow-up, or set endpoint.landmark to a month with more",
                column=self.event,
                count=number,
            )
            for words, number in counts.items()
            if number < at_least
        ]

    def stratified_by(self, table: pd.DataFrame) -> tuple[Any, Any]:
        """Event or censored, and quarter of the times."""
        return self.strata(self.targets(table))

    def targets(self, table: pd.DataFrame) -> Array:
        """(n, 2) time in months and event."""
        pairs: Array = table[[TIME, LABEL]].to_numpy(dtype=np.float64)
        return pairs

    def binary(self, targets: Array) -> Array:
        """Event by the landmark; -1 where it was censored before."""
        time, event = targets[:, 0], targets[:, 1]
        by = (time <= self.landmark) & (event == 1)
        free = (time > self.landmark) | ((time == self.landmark) & (event == 0))
        return np.where(by, 1, np.where(free, 0, -1)).astype(np.int64)

    def strata(self, targets: Array) -> tuple[Array, Array]:
        """Event or censored, and quarter of the times; where one is rare, half of all, and event.

        That half is the rare ones and the earliest of the others: what is dealt in this order parts
        the rare ones as far as it can. Cox regression needs events, and nobody who is censored.
        """
        time, event = targets[:, 0], targets[:, 1].astype(np.int64)
        if min(event.sum(), len(event) - event.sum()) < _FEW:
            common = event if 2 * event.sum() > len(event) else 1 - event
            half = np.argsort(np.lexsort((time, common)), kind="stable") < len(time) // 2
            return half.astype(np.int64), event
        edges = np.quantile(time, np.linspace(0, 1, _GRADES + 1)[1:-1])
        return event, np.searchsorted(edges, time, side="right")

    def solve(
        self, x_qnf: Tensor, y_qn: Tensor, weight_qn: Tensor, strength_qs: Tensor
    ) -> Solution:
        """Cox regression; offsets are the cumulative baseline hazard at the months.

        It is NaN at months past the longest follow-up, of which nothing is known, but for the
        landmark, which the checks ask patients for.
        """
        y = torch.where(weight_qn.unsqueeze(-1) > 0, y_qn, 0.0)
        coefficients = fit_cox(x_qnf, y, weight_qn, strength_qs)
        months = torch.tensor(list(self.months), dtype=torch.float64)
        x = torch.where(weight_qn.unsqueeze(-1) > 0, x_qnf.double(), 0.0)
        hazards = [
            breslow_hazard((x @ own.unsqueeze(-1)).squeeze(-1), y, weight_qn, months)
            for own in coefficients.unbind(1)
        ]
        longest = y[..., 0].amax(-1)
        unknown = (months > longest.unsqueeze(-1)) & (months != self.landmark)
        told = torch.stack(hazards, dim=1).masked_fill(unknown.unsqueeze(1), torch.nan)
        return Solution(coefficients, told)

    def log_odds(self, linear: Tensor, offsets: Tensor) -> Tensor:
        """Of the event by the landmark: the higher the hazard, the higher they are."""
        at = list(self.months).index(self.landmark)
        hazard = offsets[..., at : at + 1].clamp_min(_LEAST_HAZARD) * torch.exp(linear)
        # log(1 - exp(-h)) - log(exp(-h))
        return hazard + torch.log(-torch.expm1(-hazard).clamp_max(-1e-300))

    def losses(
        self,
        linear_qsn: Tensor,
        offsets_qsk: Tensor,  # noqa: ARG002
        y_qn: Tensor,
        train_qn: Tensor,
    ) -> Tensor:
        """Cross-validated partial likelihood (Verweij & van Houwelingen, Stat Med 1993, 12).

        What the rows that were left out add to the log partial likelihood of all, spread evenly
        over them.
        """
        known = torch.isfinite(y_qn).all(-1)
        y = torch.where(known.unsqueeze(-1), y_qn, 0.0)
        every, left_out = known.double(), known & ~(train_qn > 0)
        share = 1 / left_out.double().sum(-1, keepdim=True).clamp_min(1.0)
        totals = [
            log_partial_likelihood(own, y, train_qn) - log_partial_likelihood(own, y, every)
            for own in linear_qsn.unbind(1)
        ]
        return (torch.stack(totals, dim=1).unsqueeze(-1) * share.unsqueeze(1)).expand_as(linear_qsn)

    def outputs(self, linear: Tensor, offsets: Tensor) -> dict[str, Array]:
        """`risk`, the log hazard against the mean patient, and `survival:<month>`.

        NaN at months that none of the member's development patients was followed to.
        """
        survival = torch.exp(-offsets.unsqueeze(-2) * torch.exp(linear).unsqueeze(-1)).numpy()
        told = {f"survival:{m:g}": survival[..., i] for i, m in enumerate(self.months)}
        return {"risk": linear.numpy(), **told}
