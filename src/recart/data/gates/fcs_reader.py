"""Reads cells from FCS files: their proteins, and nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.cohort import Cohort
from recart.data.gates.cell_gate import CellGate
from recart.data.gates.fcs_file import Events, read_fcs
from recart.data.names.isotopes import is_isotope, without_isotope
from recart.data.names.protein_aliases import marker_of
from recart.data.readers.assemble import Parts, assemble
from recart.data.readers.columns import Columns
from recart.data.readers.proteins import Proteins
from recart.data.readers.reader import Reader
from recart.data.readers.sample_tables import SideTables, index_table, read_side_tables
from recart.data.readers.tables import read_table
from recart.problems import InputError, Problem, Problems

__all__ = ["FcsReader"]

_FILE: Final = ("fcs", "file", "path")  # names of the sheet's column of files

# channels with a name of their own that no antibody stains; DNAM-1, BCMA and Ki67 are proteins
_NO_PROTEIN: Final = re.compile(
    r"bead|^DNA(?![a-z])|^intercalator|^19[13]Ir|viab|cisplatin|live.{0,3}dead|zombie|^7.?AAD|^DAPI"
    r"|barcode|^BC[ _-]?\d*$|^(center|offset|width|residual|time|event.?length)$",
    re.IGNORECASE,
)

Array = np.ndarray[Any, np.dtype[Any]]


class _Panel(NamedTuple):
    """Cells of one sample: counts (cells, proteins), names of proteins and of what is none."""

    sample: str
    counts: Array
    names: list[str]
    others: list[str]


@final
class FcsReader(Reader):
    """A cohort of cytometry: one FCS file a sample, each event a cell, each dye a protein.

    Intensities are no counts, and the protein likelihood is one of counts. They are taken for
    counts of `unit`: `round(max(value, 0) / unit)`, on the linear scale, compensated. So `unit`
    is what an instrument can't tell from nothing; for mass cytometry, whose values are ion counts,
    it is 1; for fluorescence the spread of unstained cells, some tens. It is said by the user and
    fitted to nothing. What lies below 0 after compensation is 0. Latents and heads see such counts
    as they see those of antibodies; likelihoods in nats mean nothing for them.

    Parameters
    ----------
    sheet
        CSV with columns `sample`, `patient`, `fcs` (or `file`, `path`; relative paths start at the
        sheet) and any property of the sample.
    unit
        Intensity that is one count.
    columns
        Column names by role, see `Columns`.
    patients
        Further table; None where the sheet holds everything.
    proteins
        Markers that are read, by any of their names or by their detectors ($PnN); None reads every
        dye with a marker ($PnS), but for beads, DNA, viability, barcodes and the like. Channels
        are the same protein where their names mean the same marker; of one signal's area, height
        and width the area is read.
    cells
        Cells of a file, at most, drawn by the sample's name.
    compensate
        Undo the spillover matrix that a file holds.
    gate
        Which events are cells; None takes all.
    """

    def __init__(
        self,
        sheet: str,
        unit: float,
        columns: Columns | Mapping[str, str | None] | None = None,
        patients: str | None = None,
        proteins: Sequence[str] | None = None,
        cells: int = 20_000,
        compensate: bool = True,
        gate: CellGate | None = None,
    ) -> None:
        if not unit > 0:
            raise ValueError(f"unit={unit} is the intensity of one count, above 0")
        self.sheet = str(sheet)
        self.unit = unit
        self.columns = Columns.of(columns)
        self.patients = patients
        self.proteins = None if proteins is None else list(proteins)
        self.cells = cells
        self.compensate = compensate
        self.gate = gate

    def files(self) -> Sequence[Path]:
        """Sheet, tables, and every FCS file that the sheet names."""
        unsaid = Problems()  # `read` says them
        rows, _ = self._rows(unsaid)
        tables = [Path(self.sheet), *([Path(self.patients)] if self.patients else [])]
        tables += [] if self.gate is None else [Path(self.gate.table)]
        return [*tables, *dict.fromkeys(path for _, path in rows)]

    def read(self) -> Cohort:
        """Read all files, one after the other."""
        problems = Problems()
        dropped: dict[str, int] = {}
        rows, side = self._rows(problems)
        problems.raise_if_any()
        if self.gate is not None:
            self.gate.check()
        panels = []
        for sample, path in rows:
            try:
                panels.append(self._panel(sample, path, dropped))
            except InputError as error:
                for problem in error.problems:
                    problems.error(replace(problem, sample=sample))
        problems.raise_if_any()
        names = list(dict.fromkeys(name for panel in panels for name in panel.names))
        sizes = [len(panel.counts) for panel in panels]
        counts = np.zeros((sum(sizes), len(names)), dtype=np.float32)
        measured = np.zeros(counts.shape, dtype=np.bool_)
        stops = np.cumsum(sizes)
        for panel, size, stop in zip(panels, sizes, stops, strict=True):
            columns = np.array([names.index(name) for name in panel.names])
            at = np.ix_(np.arange(stop - size, stop), columns)
            counts[at], measured[at] = panel.counts, True
        if others := {name for panel in panels for name in panel.others}:
            dropped["features that are neither RNA nor surface protein"] = len(others)
        samples = np.repeat([panel.sample for panel in panels], sizes)
        ids = [f"{panel.sample}:{n}" for panel in panels for n in range(len(panel.counts))]
        parts = Parts(
            rna=sparse.csr_matrix((len(counts), 0), dtype=np.float32),
            genes=pd.DataFrame(index=pd.Index([], dtype=object)),
            obs=pd.DataFrame({"sample": samples}, index=pd.Index(ids, dtype=object)),
            proteins=Proteins(counts, names),
            protein_measured=measured,
            source={"rna": self.sheet, "protein": self.sheet},
            dropped=dropped,
        )
        return assemble(parts, self.columns, side, problems)

    def _panel(self, sample: str, path: Path, dropped: dict[str, int]) -> _Panel:
        events = read_fcs(path, compensate=self.compensate)
        column_of, others = self._columns_of(events, path)
        values = events.values
        if self.gate is not None:
            inside = self.gate.cells(events, path.name)
            _count(dropped, "events outside the gate", int((~inside).sum()))
            values = values[inside]
        if len(values) > self.cells:
            _count(dropped, "cells beyond those drawn of a file", len(values) - self.cells)
            seed = int.from_bytes(hashlib.sha256(sample.encode()).digest()[:8], "big")
            drawn = np.random.default_rng(seed).choice(len(values), self.cells, replace=False)
            values = values[np.sort(drawn)]
        counts = np.round(np.maximum(values[:, list(column_of.values())], 0) / self.unit)
        return _Panel(sample, counts.astype(np.float32), list(column_of), others)

    def _columns_of(self, events: Events, path: Path) -> tuple[dict[str, int], list[str]]:
        """Column of each protein in a file, by the marker that its name means; and what is none."""
        named = [at for at in events.dyes if events.markers[at]]
        others = [at for at in named if _is_no_protein(events.markers[at])]
        columns: dict[str, list[int]] = {}
        for at in events.areas(named):
            columns.setdefault(_protein(events.markers[at]), []).append(at)
        there = [name for name, own in columns.items() if not set(own) <= set(others)]
        lacking = []
        if self.proteins is None:
            columns = {name: columns[name] for name in there}
        else:
            markers = {marker.lower() for marker in events.markers}
            by_detector = {events.detectors[at].lower(): at for at in events.dyes}
            wanted: dict[str, list[int]] = {}
            for given in self.proteins:
                word = given.strip().lower()
                if word in by_detector and word not in markers:
                    at = by_detector[word]
                    name, own = _protein(events.markers[at] or events.detectors[at]), [at]
                else:
                    name = _protein(given)
                    own = columns.get(name, [])
                lacking += [] if own else [given]
                wanted[name] = list(dict.fromkeys([*wanted.get(name, []), *own]))
            columns = wanted
        twice = {name: own for name, own in columns.items() if len(own) > 1}
        if twice or lacking or not columns:
            what = f"the file has no protein {', '.join(lacking)}" if lacking else "no dye is named"
            mend = f"its proteins are {', '.join(sorted(there))}; name those wanted"
            if twice:
                of = [f"{n} ({', '.join(events.detectors[at] for at in twice[n])})" for n in twice]
                what, mend = f"several channels are {', '.join(of)}", f"{mend}, or their detectors,"
            mend += " in data.reader.proteins"
            if not there:
                mend = "name the dyes of the file by their markers ($PnS) when exporting it"
            problem = Problem(code="E-FCS-001", file=path.name, what=what, mend=mend)
            raise InputError([problem])
        left_out = [] if self.proteins is not None else [events.markers[at] for at in others]
        return {name: own[0] for name, own in columns.items()}, left_out

    def _rows(self, problems: Problems) -> tuple[list[tuple[str, Path]], SideTables]:
        """Sample and file of each row of the sheet, and the tables beside the cells."""
        side = read_side_tables(None, self.patients, self.columns, problems)
        frame = read_table(self.sheet, problems)
        if frame is None:
            return [], side
        lower = {str(name).lower(): str(name) for name in frame.columns}
        file = next((lower[name] for name in _FILE if name in lower), None)
        if file is None:
            what = f"has no column fcs among {', '.join(map(str, frame.columns))}"
            mend = "give a CSV with columns sample, patient and fcs"
            problems.error(Problem(code="E-FCS-002", file=self.sheet, what=what, mend=mend))
            return [], side
        table = index_table(
            frame.drop(columns=[file]), "sample", self.columns, self.sheet, problems
        )
        if table is None:
            return [], side
        ids = self.columns.rename(frame)
        names = ids["sample"] if "sample" in ids else ids["patient"]
        empty = int((frame[file].isna() | (frame[file].astype(str).str.strip() == "")).sum())
        if empty:
            problems.error(
                Problem(
                    code="E-FCS-002",
                    file=self.sheet,
                    column=file,
                    count=empty,
                    what="rows name no file",
                    mend="give each sample its FCS file, or take its row out",
                )
            )
        folder = Path(self.sheet).parent
        rows = [(str(n), folder / str(own)) for n, own in zip(names, frame[file], strict=True)]
        header = (*side.header, *map(str, frame.columns))
        return rows, SideTables(table, side.patients, self.sheet, side.patients_file, header)


def _protein(name: str) -> str:
    """What a channel's protein is called."""
    bare = without_isotope(name)
    return marker_of(bare) or bare


def _is_no_protein(marker: str) -> bool:
    names = (marker, without_isotope(marker))
    return is_isotope(marker) or any(_NO_PROTEIN.search(name) for name in names)


def _count(dropped: dict[str, int], key: str, number: int) -> None:
    dropped[key] = dropped.get(key, 0) + number
