"""What an outcome is to the data: columns of the tables, and how their values become labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recart.problems import Problem

__all__ = ["LABEL", "REASON", "Outcome", "left_out_of", "reason_of_part"]

LABEL = "label"
REASON = "reason"


def reason_of_part(part: str, why: str) -> str:
    """How the flow of bags calls a reason of a part that does not lead."""
    return f"{part}: {why}"


def left_out_of(part: str, flow: Mapping[str, int]) -> dict[str, int]:
    """Of a flow of bags, how many this part leaves out, by reason."""
    start = reason_of_part(part, "")
    return {why.removeprefix(start): n for why, n in flow.items() if why.startswith(start)}


class Outcome(ABC):
    """An endpoint as the tables of a cohort hold it."""

    @property
    @abstractmethod
    def columns(self) -> Sequence[str]:
        """Columns of the patient, sample or cell table that it is read from."""

    @abstractmethod
    def resolve(self, values: pd.DataFrame) -> pd.DataFrame:
        """Labels of rows, given `columns`.

        Returns
        -------
        `label`, NaN where the row has none, `reason` (text: why it has none), and further columns
        of numbers that the endpoint needs. Of further parts `label:<part>` and `reason:<part>`.

        Raises
        ------
        InputError
            If values cannot be read, with each value and its count.
        """

    @abstractmethod
    def too_few(self, resolved: pd.DataFrame, at_least: int) -> list[Problem]:
        """What is wrong with the numbers of patients, one row each as `resolve` gives them."""

    @abstractmethod
    def stratified_by(self, table: pd.DataFrame) -> tuple[Any, Any]:
        """(n) class, 0 or 1, that every fold needs, and (n) grade that folds are even in."""

    def classes_by_part(self, table: pd.DataFrame) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
        """By part (`""` where there is one) the class of each row, 0 or 1; -1 where not known."""
        known = (table[LABEL] >= 0).to_numpy()
        classes = np.full(len(table), -1, dtype=np.int64)
        classes[known], _ = self.stratified_by(table[known])
        return {"": classes}
