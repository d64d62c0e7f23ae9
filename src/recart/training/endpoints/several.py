"""Several endpoints of the same patients, such as response and CRS grade, read from one pooling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, final

import numpy as np
import pandas as pd
from torch import Tensor

from recart.data.outcome import LABEL
from recart.data.split import Split
from recart.problems import InputError, Problem, Problems
from recart.training.endpoints.endpoint import Array, Endpoint, Solution
from recart.training.inner_folds import FEWEST

__all__ = ["SeveralEndpoints"]


@final
@dataclass(frozen=True, kw_only=True)
class SeveralEndpoints(Endpoint):
    """An endpoint made of endpoints, the leading one first.

    Folds, calibration, comparison and claim are of the leading one, which a bag must have a label
    of. A bag may lack the others: their readouts are then fitted without it. Targets are the parts'
    side by side, NaN where one is not known.
    """

    parts: Mapping[str, Endpoint]

    def __post_init__(self) -> None:
        """Refuse fewer than two parts, and parts of parts."""
        nested = [name for name, own in self.parts.items() if isinstance(own, SeveralEndpoints)]
        if len(self.parts) < 2 or nested:
            raise InputError(
                [
                    Problem(
                        code="E-LAB-010",
                        column="endpoint.parts",
                        what=f"parts are {list(self.parts)}"
                        + (f", {nested[0]} has parts itself" if nested else ""),
                        mend="give two or more single endpoints, the leading one first",
                    )
                ]
            )

    @property
    def leading(self) -> Endpoint:
        """The endpoint that folds and claims are of."""
        return next(iter(self.parts.values()))

    @property
    def kind(self) -> str:
        """That of the leading endpoint."""
        return self.leading.kind

    @property
    def columns(self) -> Sequence[str]:
        """Those of all parts."""
        return tuple(dict.fromkeys(name for own in self.parts.values() for name in own.columns))

    @property
    def classes(self) -> tuple[str, str]:
        """Those of the leading endpoint."""
        return self.leading.classes

    def resolve(self, values: pd.DataFrame) -> pd.DataFrame:
        """The leading endpoint's columns, and those of the others as `<column>:<part>`."""
        problems, tables = Problems(), []
        for number, (name, own) in enumerate(self.parts.items()):
            try:
                table = own.resolve(values[list(own.columns)])
            except InputError as error:
                for problem in error.problems:
                    problems.error(problem)
                continue
            tables.append(table if number == 0 else table.add_suffix(f":{name}"))
        problems.raise_if_any()
        return pd.concat(tables, axis=1)

    def too_few(self, resolved: pd.DataFrame, at_least: int) -> list[Problem]:
        """What each part lacks."""
        return [
            problem
            for name, own in self.parts.items()
            for problem in own.too_few(self._table(resolved, name), at_least)
        ]

    def stratified_by(self, table: pd.DataFrame) -> tuple[Any, Any]:
        """As the leading endpoint."""
        return self.leading.stratified_by(table)

    def classes_by_part(self, table: pd.DataFrame) -> dict[str, Array]:
        """Of each part its own."""
        return {
            name: own.classes_by_part(self._table(table, name))[""]
            for name, own in self.parts.items()
        }

    def targets(self, table: pd.DataFrame) -> Array:
        """(n, column) targets of the parts side by side, NaN where a part is not known."""
        columns = []
        for name, own in self.parts.items():
            part = self._table(table, name)
            known = part[LABEL].to_numpy(dtype=float) >= 0
            filled = np.full((len(part), _width(own)), np.nan)
            if known.any():
                filled[known] = own.targets(part[known]).reshape(-1, _width(own))
            columns.append(filled)
        return np.hstack(columns)

    def targets_by_part(self, targets: Array) -> dict[str, Array]:
        """Targets of each part, as that part has them, NaN where not known."""
        found, start = {}, 0
        for name, own in self.parts.items():
            width = _width(own)
            part = targets[:, start : start + width]
            found[name] = part if width > 1 else part[:, 0]
            start += width
        return found

    def binary(self, targets: Array) -> Array:
        """That of the leading endpoint."""
        return self.leading.binary(self._lead(targets))

    def strata(self, targets: Array) -> tuple[Array, Array]:
        """Those of the leading endpoint."""
        return self.leading.strata(self._lead(targets))

    def solve(
        self, x_qnf: Tensor, y_qn: Tensor, weight_qn: Tensor, strength_qs: Tensor
    ) -> Solution:
        """Not asked: each part has a readout of its own (`recart.training.readouts`)."""
        _by_part(x_qnf, y_qn, weight_qn, strength_qs)

    def log_odds(self, linear: Tensor, offsets: Tensor) -> Tensor:
        """Those of the leading endpoint."""
        return self.leading.log_odds(linear, offsets)

    def losses(
        self, linear_qsn: Tensor, offsets_qsk: Tensor, y_qn: Tensor, train_qn: Tensor
    ) -> Tensor:
        """Not asked: each part has a readout of its own."""
        _by_part(linear_qsn, offsets_qsk, y_qn, train_qn)

    def part_table(self, table: pd.DataFrame, name: str) -> pd.DataFrame:
        """The bags' table as it would be with this part as the only endpoint."""
        return table.assign(**{str(key): own for key, own in self._table(table, name).items()})

    def _lead(self, targets: Array) -> Array:
        lead: Array = next(iter(self.targets_by_part(targets).values()))
        return lead if lead.ndim > 1 else lead.astype(np.int64)

    def _table(self, table: pd.DataFrame, name: str) -> pd.DataFrame:
        if name == next(iter(self.parts)):
            return table
        end = f":{name}"
        own = table[[column for column in map(str, table.columns) if column.endswith(end)]]
        return own.rename(columns=lambda column: str(column).removesuffix(end))

    def lacking(self, table: pd.DataFrame, split: Split) -> list[Problem]:
        """Further parts of which a fold's development patients have fewer than two of a class."""
        problems = []
        patients = table["patient"].to_numpy()
        for name, classes in list(self.classes_by_part(table).items())[1:]:
            poor = []
            for fold in split.folds:
                inside = np.isin(patients, [*fold.train, *fold.validation])
                of_class = [len(set(patients[inside & (classes == code)])) for code in (0, 1)]
                if min(of_class) < FEWEST:
                    poor.append(f"r{fold.repeat}f{fold.fold} ({min(of_class)})")
            if poor:
                problems.append(
                    Problem(
                        code="E-LAB-012",
                        column=self.parts[name].columns[0],
                        count=len(poor),
                        examples=tuple(poor[:5]),
                        what=f"part {name}: these folds leave fewer than {FEWEST} development "
                        "patients of one class to fit it to",
                        mend=f"set the cut of {name} to a value with more patients on both sides, "
                        "or take the part out of endpoint.parts",
                    )
                )
        return problems


def _width(endpoint: Endpoint) -> int:
    return 2 if endpoint.kind == "survival" else 1


def _by_part(*_: Tensor) -> NoReturn:
    raise TypeError("several endpoints are solved part by part")
