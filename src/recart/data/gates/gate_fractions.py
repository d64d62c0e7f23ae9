"""Gate fractions of samples: FCS files named in a sheet, through one gating table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

import pandas as pd

from recart.data.gates.fcs_file import on_arcsinh_scale, read_fcs
from recart.data.gates.gating_table import gate_shares, read_gating_table
from recart.data.readers.tables import read_table
from recart.problems import InputError, Problem, Problems

__all__ = ["PREFIX", "GateFractions"]

PREFIX: Final = "gate:"  # of the columns of the sample table


@final
@dataclass(frozen=True, kw_only=True)
class GateFractions:
    """What gate fractions are computed from.

    Nothing is fitted: the gates are those of the table, the same for every file, so that a file's
    fractions depend on that file alone.

    Attributes
    ----------
    sheet
        CSV with columns `sample` and `fcs`, one file a sample; relative paths start at the sheet.
    table
        CSV `gate,parent,channel,low,high`; limits on fluorescence are on the arcsinh scale.
    cofactor
        Of arcsinh(value / cofactor): 150 is usual for fluorescence, 5 for mass cytometry.
    compensate
        Undo the spillover matrix that a file holds.
    """

    sheet: str
    table: str
    cofactor: float
    compensate: bool

    def __post_init__(self) -> None:
        if not self.cofactor > 0:
            raise ValueError(f"cofactor is {self.cofactor}; give a number above 0")

    def files(self) -> list[Path]:
        """Every file that `fractions` opens."""
        unsaid = Problems()  # `fractions` says them
        rows = self._rows(unsaid)
        return [Path(self.sheet), Path(self.table), *dict.fromkeys(path for _, path in rows)]

    def fractions(self) -> pd.DataFrame:
        """Index sample id, a column `gate:NAME` a gate: its share of its parent's events.

        Raises
        ------
        InputError
            With every problem of sheet, table and files.
        """
        problems = Problems()
        gates = read_gating_table(self.table, problems)
        rows = self._rows(problems)
        problems.raise_if_any()
        found: dict[str, dict[str, float]] = {}
        for sample, path in rows:
            try:
                events = read_fcs(path, compensate=self.compensate)
                scaled = on_arcsinh_scale(events, self.cofactor)
                found[sample] = gate_shares(gates, scaled, path.name)
            except InputError as error:
                for problem in error.problems:
                    problems.error(replace(problem, sample=sample))
        problems.raise_if_any()
        columns = [gate.name for gate in gates]
        shares = pd.DataFrame.from_dict(found, orient="index", columns=columns, dtype=float)
        return shares.add_prefix(PREFIX)

    def _rows(self, problems: Problems) -> Sequence[tuple[str, Path]]:
        """Sample and file of each row of the sheet."""
        frame = read_table(self.sheet, problems)
        if frame is None:
            return []
        lacking = [name for name in ("sample", "fcs") if name not in frame]
        if lacking:
            self._say(problems, f"has no column {', '.join(lacking)}", "give sample and fcs")
            return []
        twice = frame["sample"][frame["sample"].duplicated()].unique()
        if len(twice):
            self._say(
                problems, f"samples in several rows: {', '.join(twice[:5])}", "keep one file each"
            )
        empty = int(((frame["sample"] == "") | (frame["fcs"] == "")).sum())
        if empty:
            self._say(problems, f"{empty} rows lack sample or fcs", "name both")
        folder = Path(self.sheet).parent
        return [
            (str(s), folder / str(f)) for s, f in zip(frame["sample"], frame["fcs"], strict=True)
        ]

    def _say(self, problems: Problems, what: str, mend: str) -> None:
        problems.error(Problem(code="E-GATE-007", what=what, mend=mend, file=self.sheet))
