"""A reader whose samples have gate fractions of flow cytometry beside their other properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

import pandas as pd

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
        return _gated(self.reader.read(), self.gates.fractions(), _Seen(parts=1), self.gates.sheet)

    def parts(self, cells: int) -> Sequence[Reader]:
        """Those of the reader, each with the gates of its samples.

        That no FCS file is of the cohort is said by the last one, when all were read.
        """
        parts = self.reader.parts(cells)
        if len(parts) == 1:
            return [self]
        shares, seen = self.gates.fractions(), _Seen(parts=len(parts))
        files = self.files()
        return [_GatedPart(part, self.gates.sheet, shares, seen, files) for part in parts]


@dataclass
class _Seen:
    """What was read so far of `parts` parts: how many, and samples by their names."""

    parts: int
    read: int = 0
    samples: set[str] = field(default_factory=set)


@final
@dataclass(frozen=True)
class _GatedPart(Reader):
    """A part of the cells, with their gates; the parts share `seen`."""

    part: Reader
    sheet: str
    shares: pd.DataFrame
    seen: _Seen
    whole: Sequence[Path]

    def files(self) -> Sequence[Path]:
        """Those of the whole cohort."""
        return self.whole

    def read(self) -> Cohort:
        """Read these cells, and join their gates."""
        return _gated(self.part.read(), self.shares, self.seen, self.sheet)

    @property
    def size(self) -> int | None:
        """Its cells."""
        return self.part.size


def _gated(cohort: Cohort, shares: pd.DataFrame, seen: _Seen, sheet: str) -> Cohort:
    """The cohort with its shares; complains where no part of it had one."""
    seen.read += 1
    seen.samples |= set(cohort.samples.index.astype(str))
    known = shares.index.isin(list(seen.samples))
    complete = seen.read == seen.parts
    there = [name for name in shares.columns if name in cohort.samples]
    if there or (complete and not known.any()):
        problem = Problem(
            code="E-GATE-008",
            file=Path(sheet).name,
            column=there[0] if there else "sample",
            what="the samples have such a column already"
            if there
            else f"none of its {len(shares)} samples is among the {len(seen.samples)} of the "
            "cohort",
            mend="rename the gate" if there else "write sample ids as the cohort has them",
        )
        raise InputError([problem])
    own = shares.reindex(cohort.samples.index.astype(str)).set_axis(cohort.samples.index)
    dropped = dict(cohort.dropped)
    if complete and not known.all():
        dropped["FCS files of samples without cells"] = int((~known).sum())
    return replace(cohort, samples=cohort.samples.join(own), dropped=dropped)
