"""What an endpoint is to a head: a convex fit on features, its loss, and one number that ranks."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from recart.data.bags import Bags
from recart.data.outcome import Outcome

__all__ = ["Array", "Endpoint", "Solution", "endpoint_of"]

Array = np.ndarray[Any, np.dtype[Any]]


class Solution(NamedTuple):
    """Coefficients (q, s, f), and offsets (q, s, k) with which `x b` becomes predictions."""

    coefficients: Tensor
    offsets: Tensor


class Endpoint(Outcome):
    """What is predicted; one class and one YAML each.

    Targets of bags are arrays: (n) of 0 and 1, (n) of levels, or (n, 2) of time and event.
    Every endpoint has a binary face, a question with yes and no that its log odds answer.
    """

    @property
    @abstractmethod
    def kind(self) -> str:
        """`binary`, `ordinal` or `survival`."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, str]:
        """Names of yes and no of the binary face."""

    @abstractmethod
    def targets(self, table: pd.DataFrame) -> Array:
        """Targets of rows of a bag table that have a label."""

    @abstractmethod
    def binary(self, targets: Array) -> Array:
        """(n) the binary face of targets: 1, 0, and -1 where it is not known."""

    @abstractmethod
    def strata(self, targets: Array) -> tuple[Array, Array]:
        """(n) class of 0 or 1 that inner folds need both of, and (n) grade they are even in."""

    @abstractmethod
    def solve(
        self, x_qnf: Tensor, y_qn: Tensor, weight_qn: Tensor, strength_qs: Tensor
    ) -> Solution:
        """Minimise the ridge-penalised loss of every problem and strength exactly."""

    @abstractmethod
    def log_odds(self, linear: Tensor, offsets: Tensor) -> Tensor:
        """(..., n) log odds of yes, from `x b` (..., n) and offsets (..., k)."""

    @abstractmethod
    def losses(
        self, linear_qsn: Tensor, offsets_qsk: Tensor, y_qn: Tensor, train_qn: Tensor
    ) -> Tensor:
        """(q, s, n) loss of the rows that are not trained on; the strength is chosen by its sum."""

    def outputs(self, linear: Tensor, offsets: Tensor) -> dict[str, Array]:  # noqa: ARG002
        """What is said of bags beside the log odds, by name, from (n) and (k)."""
        return {}

    @property
    def described(self) -> dict[str, Any]:
        """What was fitted, in plain Python, for the member's file."""
        return {
            "kind": self.kind,
            "columns": [str(name) for name in self.columns],
            "classes": [str(name) for name in self.classes],
        }

    def targets_of(self, bags: Bags, rows: Array) -> Array:
        """Targets of some bags."""
        return self.targets(bags.table.iloc[rows])


def endpoint_of(bags: Bags) -> Endpoint:
    """The endpoint that bags are labelled with: yes or no where nothing else is said."""
    from recart.training.endpoints.binary import BinaryEndpoint

    return bags.outcome if isinstance(bags.outcome, Endpoint) else BinaryEndpoint()
