"""A binary endpoint: response or none, by ridge logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recart.data.checks.two_classes import TwoClasses
from recart.data.outcome import LABEL
from recart.models.ridge_logistic import fit_ridge_logistic
from recart.problems import Problem
from recart.training.endpoints.endpoint import Array, Endpoint, Solution

__all__ = ["BinaryEndpoint"]


@final
@dataclass(frozen=True, kw_only=True)
class BinaryEndpoint(Endpoint):
    """Two classes: `column` holds the values, the lists say what they mean (`resolve_labels`)."""

    column: str = LABEL
    positive: Sequence[Any] | None = None
    negative: Sequence[Any] | None = None
    exclude: Sequence[Any] = ()

    @property
    def kind(self) -> str:
        """Binary."""
        return "binary"

    @property
    def columns(self) -> Sequence[str]:
        """The one column."""
        return (self.column,)

    @property
    def classes(self) -> tuple[str, str]:
        """The values that mean yes and no."""
        yes, no = self.positive or ["positive class"], self.negative or ["negative class"]
        return ", ".join(map(str, yes)), ", ".join(map(str, no))

    def resolve(self, values: pd.DataFrame) -> pd.DataFrame:
        """1, 0 and NaN."""
        return self._reading.resolve(values)

    def too_few(self, resolved: pd.DataFrame, at_least: int) -> list[Problem]:
        """Each class needs `at_least` patients."""
        return self._reading.too_few(resolved, at_least)

    @property
    def _reading(self) -> TwoClasses:
        return TwoClasses(
            column=self.column,
            positive=self.positive,
            negative=self.negative,
            exclude=self.exclude,
        )

    def stratified_by(self, table: pd.DataFrame) -> tuple[Any, Any]:
        """The class, and nothing beside it."""
        return self._reading.stratified_by(table)

    def targets(self, table: pd.DataFrame) -> Array:
        """(n) of 0 and 1."""
        labels: Array = table[LABEL].to_numpy().astype(np.int64)
        return labels

    def binary(self, targets: Array) -> Array:
        """The targets themselves."""
        return targets

    def strata(self, targets: Array) -> tuple[Array, Array]:
        """The targets themselves, and no grade."""
        return targets, np.zeros(len(targets), dtype=np.int64)

    def solve(
        self, x_qnf: Tensor, y_qn: Tensor, weight_qn: Tensor, strength_qs: Tensor
    ) -> Solution:
        """Ridge logistic regression; the offset is the intercept."""
        y_qn = torch.where(weight_qn > 0, y_qn, 0.0)  # NaN where it is not known
        coefficients, intercepts = fit_ridge_logistic(x_qnf, y_qn, weight_qn, strength_qs)
        return Solution(coefficients, intercepts.unsqueeze(-1))

    def log_odds(self, linear: Tensor, offsets: Tensor) -> Tensor:
        """Plus the intercept."""
        return linear + offsets

    def losses(
        self,
        linear_qsn: Tensor,
        offsets_qsk: Tensor,
        y_qn: Tensor,
        train_qn: Tensor,  # noqa: ARG002
    ) -> Tensor:
        """Log loss of each row."""
        logits = self.log_odds(linear_qsn, offsets_qsk)
        y = y_qn.unsqueeze(1).expand_as(logits)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
