"""An ordinal endpoint, such as the IMWG response: cumulative logit regression on its levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recart.data.checks.labels import is_missing, plain_value
from recart.data.outcome import LABEL, REASON
from recart.models.cumulative_logit import fit_cumulative_logit, level_log_probabilities
from recart.problems import InputError, Problem, Problems
from recart.training.endpoints.endpoint import Array, Endpoint, Solution

__all__ = ["OrdinalEndpoint"]


@final
@dataclass(frozen=True, kw_only=True)
class OrdinalEndpoint(Endpoint):
    """Ordered levels, worst first.

    `cut` is the level from which on the binary face says yes. `exclude` are values that belong to
    no level, such as NE: patients who could not be evaluated are left out, not counted as worst.
    """

    column: str
    levels: Sequence[str]
    cut: str
    exclude: Sequence[Any] = ()

    def __post_init__(self) -> None:
        """Refuse levels that are no order, and a cut that divides nothing."""
        problems = Problems()
        names = [str(level) for level in self.levels]
        if len(set(names)) < max(len(names), 2) or {str(v) for v in self.exclude} & set(names):
            problems.error(
                Problem(
                    code="E-LAB-007",
                    column="endpoint.levels",
                    what=f"levels are {names}, excluded {list(self.exclude)}",
                    mend="list two or more different levels, worst first, and none of them under "
                    "exclude",
                )
            )
        elif self.cut not in names[1:]:
            problems.error(
                Problem(
                    code="E-LAB-007",
                    column="endpoint.cut",
                    what=f"the cut is {self.cut!r}",
                    mend=f"name the lowest level that counts as yes: one of {names[1:]}",
                )
            )
        problems.raise_if_any()

    @property
    def kind(self) -> str:
        """Ordinal."""
        return "ordinal"

    @property
    def columns(self) -> Sequence[str]:
        """The one column."""
        return (self.column,)

    @property
    def classes(self) -> tuple[str, str]:
        """From the cut on, and below it; of numbers, which may be grades of toxicity, higher."""
        grades = all(str(level).isdecimal() for level in self.levels)
        return f"{self.cut} or {'higher' if grades else 'better'}", f"below {self.cut}"

    @property
    def _at(self) -> int:
        return [str(level) for level in self.levels].index(self.cut)

    def resolve(self, values: pd.DataFrame) -> pd.DataFrame:
        """Number of the level, and NaN."""
        text = values[self.column].map(plain_value, na_action="ignore").astype(object)
        missing = is_missing(text)
        excluded = text.isin([plain_value(v) for v in self.exclude]) & ~missing
        code = {str(level): float(number) for number, level in enumerate(self.levels)}
        labels = text.map(code).astype(float)
        unknown = text[labels.isna() & ~missing & ~excluded].value_counts()
        if len(unknown):
            shown = ", ".join(f"{value!r} ({n})" for value, n in unknown.items())
            raise InputError(
                [
                    Problem(
                        code="E-LAB-005",
                        what=f"values that are no level: {shown}; levels are {list(self.levels)}",
                        mend="set endpoint.levels=[...], worst first; list values such as NE that "
                        "are no level under data.exclude",
                        column=self.column,
                        count=int(unknown.sum()),
                    )
                ]
            )
        reason = np.where(missing, f"no value of {self.column}", "")
        reason = np.where(excluded, "not evaluable: " + text.astype(str), reason)
        return pd.DataFrame({LABEL: labels, REASON: reason}, index=values.index)

    def too_few(self, resolved: pd.DataFrame, at_least: int) -> list[Problem]:
        """`at_least` patients from the cut on and below it."""
        known = resolved[LABEL].dropna()
        above = int((known >= self._at).sum())
        counts = dict(zip(self.classes, (above, len(known) - above), strict=True))
        return [
            Problem(
                code="E-LAB-004",
                what=f"{number} patients are {name}; cross-validation needs at least {at_least}",
                mend="add patients, or set endpoint.cut to a level that divides them more evenly",
                column=self.column,
                count=number,
            )
            for name, number in counts.items()
            if number < at_least
        ]

    def stratified_by(self, table: pd.DataFrame) -> tuple[Any, Any]:
        """Side of the cut, and level."""
        return self.strata(self.targets(table))

    def targets(self, table: pd.DataFrame) -> Array:
        """(n) number of the level, 0 the worst."""
        levels: Array = table[LABEL].to_numpy().astype(np.int64)
        return levels

    def binary(self, targets: Array) -> Array:
        """From the cut on."""
        return np.where(targets < 0, -1, (targets >= self._at).astype(np.int64))

    def strata(self, targets: Array) -> tuple[Array, Array]:
        """Side of the cut, and level."""
        return (targets >= self._at).astype(np.int64), targets.astype(np.int64)

    def solve(
        self, x_qnf: Tensor, y_qn: Tensor, weight_qn: Tensor, strength_qs: Tensor
    ) -> Solution:
        """Cumulative logit regression; offsets are its cuts."""
        y = torch.where(weight_qn > 0, y_qn, 0).long()
        return Solution(*fit_cumulative_logit(x_qnf, y, weight_qn, strength_qs, len(self.levels)))

    def log_odds(self, linear: Tensor, offsets: Tensor) -> Tensor:
        """Of the cut or better."""
        return linear + offsets[..., self._at - 1 : self._at]

    def losses(
        self,
        linear_qsn: Tensor,
        offsets_qsk: Tensor,
        y_qn: Tensor,
        train_qn: Tensor,  # noqa: ARG002
    ) -> Tensor:
        """Log loss of each row's level."""
        log_p = self._log_p(linear_qsn, offsets_qsk)
        y = torch.nan_to_num(y_qn).long().clamp_min(0).unsqueeze(1).expand(log_p.shape[:-1])
        return -log_p.gather(-1, y.unsqueeze(-1)).squeeze(-1)

    def outputs(self, linear: Tensor, offsets: Tensor) -> dict[str, Array]:
        """Probability of each level, `level:PD` and so on."""
        p = self._log_p(linear, offsets).exp().numpy()
        return {f"level:{level}": p[..., number] for number, level in enumerate(self.levels)}

    def _log_p(self, linear: Tensor, offsets: Tensor) -> Tensor:
        cuts = offsets.unsqueeze(-2).expand(*linear.shape, offsets.shape[-1])
        return level_log_probabilities(linear, cuts)
