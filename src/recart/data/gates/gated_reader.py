"""A reader whose samples have gate fractions of flow cytometry beside their other properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

from recart.data.cohort import Cohort
from recart.data.gates.gate_fractions import GateFractions
from recart.data.readers.reader import Reader
from recart.problems import InputError, Problem

__all__ = ["GatedReader"]


@final
class GatedReader(Reader):
    """Reads what `reader` reads, and adds a column `gate:NAME` a gate to its samples.

    Samples without an FCS file have NaN there. Files of samples that are not in the cohort are
    counted in `dropped`.

    Parameters
    ----------
    reader, gates
        Reader of the cells, and the gates.
    """

    def __init__(self, reader: Reader, gates: GateFractions) -> None:
        self.reader = reader
        self.gates = gates

    def files(self) -> Sequence[Path]:
        """Those of both."""
        return [*self.reader.files(), *self.gates.files()]

    def read(self) -> Cohort:
        """Read the cells, then the gates.

        Raises
        ------
        InputError
            As the reader, and if no FCS file is of a sample of the cohort, or the samples have a
            column of that name.
        """
        cohort = self.reader.read()
        shares = self.gates.fractions()
        known = shares.index.isin(cohort.samples.index.astype(str))
        there = [name for name in shares.columns if name in cohort.samples]
        if there or not known.any():
            problem = Problem(
                code="E-GATE-008",
                file=Path(self.gates.sheet).name,
                column=there[0] if there else "sample",
                what="the samples have such a column already"
                if there
                else f"none of its {len(shares)} samples is among the {len(cohort.samples)} of the "
                "cohort",
                mend="rename the gate" if there else "write sample ids as the cohort has them",
            )
            raise InputError([problem])
        own = shares.reindex(cohort.samples.index.astype(str)).set_axis(cohort.samples.index)
        dropped = dict(cohort.dropped)
        if not known.all():
            dropped["FCS files of samples without cells"] = int((~known).sum())
        return replace(cohort, samples=cohort.samples.join(own), dropped=dropped)
