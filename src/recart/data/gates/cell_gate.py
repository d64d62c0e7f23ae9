"""Which events of an FCS file are cells: those inside one gate of a gating table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from recart.data.gates.fcs_file import Events, on_arcsinh_scale
from recart.data.gates.gating_table import Gate, gate_masks, read_gating_table
from recart.problems import InputError, Problem, Problems

__all__ = ["CellGate"]


@final
@dataclass(frozen=True, kw_only=True)
class CellGate:
    """Events inside the gate `name` of the gating table in the file `table`.

    Limits on fluorescence are on the scale arcsinh(value / cofactor).
    """

    table: str
    name: str
    cofactor: float

    def __post_init__(self) -> None:
        """Refuse what is no scale."""
        if not self.cofactor > 0:
            raise ValueError(f"cofactor is {self.cofactor}; give a number above 0")

    def cells(self, events: Events, file: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(events) whether each is a cell.

        Raises
        ------
        InputError
            As `check`, or if the table names a channel that the file lacks.
        """
        return gate_masks(self.check(), on_arcsinh_scale(events, self.cofactor), file)[self.name]

    def check(self) -> list[Gate]:
        """The gates of the table.

        Raises
        ------
        InputError
            If the table is not sound, or has no such gate.
        """
        problems = Problems()
        gates = read_gating_table(self.table, problems)
        problems.raise_if_any()
        if self.name not in {gate.name for gate in gates}:
            problem = Problem(
                code="E-FCS-003",
                file=self.table,
                feature=self.name,
                what="the table has no such gate",
                mend=f"its gates are {', '.join(gate.name for gate in gates)}",
            )
            raise InputError([problem])
        return gates
