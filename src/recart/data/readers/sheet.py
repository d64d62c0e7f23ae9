"""The sample sheet: one row a sample, with its Cell Ranger outputs."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from recart.data.cohort import HAS_BCR, HAS_TCR
from recart.data.readers.cellranger_layout import contig_files, matrix_file, multi_samples
from recart.data.readers.columns import Columns
from recart.data.readers.sample_tables import SideTables, index_table
from recart.data.readers.tables import is_missing, read_table
from recart.problems import Problem, Problems

__all__ = ["Run", "read_sheet", "refuse_copies"]

_GEX: Final = ("gex", "gex_path", "h5", "count", "matrix", "path")
_VDJ: Final = ("vdj", "vdj_path", "vdj_t", "vdj_b", "tcr", "bcr", "contigs")
# what a file in these columns says of a sample, also where no cell of it has a receptor
_SEQUENCED: Final = {"vdj_t": HAS_TCR, "tcr": HAS_TCR, "vdj_b": HAS_BCR, "bcr": HAS_BCR}


@dataclass(frozen=True)
class Run:
    """Files of one sample."""

    sample: str
    gex: Path
    contigs: tuple[Path, ...]


def read_sheet(
    sheet: str, side: SideTables, columns: Columns, problems: Problems
) -> tuple[list[Run], SideTables]:
    """Files by sample, and the sample table with the sheet's other columns.

    `sheet` is a CSV with columns `sample`, `patient`, `gex` and, where there are receptors, `vdj`
    (or `vdj_t`, `vdj_b`): files, or Cell Ranger's output folders; relative paths start at the
    sheet. A folder of a `cellranger multi` run is its own sheet; its patients then come from
    `samples`.
    """
    path = Path(sheet)
    if path.is_dir():
        runs = [
            Run(name, matrix, tuple(contig_files(folder)))
            for name, folder in multi_samples(path).items()
            if (matrix := matrix_file(folder)) is not None
        ]
        if not runs:
            _missing(problems, "E-SHEET-001", "no per_sample_outs folder was found", sheet, "")
        return runs, side
    frame = read_table(path, problems)
    if frame is None:
        return [], side
    lower = {str(name).lower(): str(name) for name in frame.columns}
    gex = next((lower[name] for name in _GEX if name in lower), None)
    if gex is None:
        what = f"has no column gex among {', '.join(map(str, frame.columns))}"
        _missing(problems, "E-SHEET-001", what, sheet, "gex")
        return [], side
    vdj = [lower[name] for name in _VDJ if name in lower]
    table = index_table(frame.drop(columns=[gex, *vdj]), "sample", columns, sheet, problems)
    if table is None:
        return [], side
    ids = columns.rename(frame)
    names = ids["sample"] if "sample" in ids else ids["patient"]
    runs = []
    for name, row in zip(names, frame.to_dict("records"), strict=True):
        place = _place(str(row[gex]), sheet, gex, str(name), problems)
        matrix = None if place is None else matrix_file(place)
        if matrix is None:
            if place is not None:
                _missing(
                    problems,
                    "E-SHEET-002",
                    f"no .h5 and no matrix.mtx in {row[gex]}",
                    sheet,
                    gex,
                    str(name),
                )
            continue
        contigs = [] if vdj or place is None or place.is_file() else contig_files(place)
        for column in vdj:
            value = "" if is_missing(row[column]) else str(row[column])
            given = _place(value, sheet, column, str(name), problems) if value else None
            contigs += [] if given is None else contig_files(given)
            if given is not None and column.lower() in _SEQUENCED and name in table.index:
                said = _SEQUENCED[column.lower()]
                if said in table:  # numbers make room for a word
                    table[said] = table[said].astype(object)
                table.loc[str(name), said] = "yes"
            if given is not None and not contig_files(given):
                what = f"no filtered_contig_annotations in {row[column]}"
                _missing(problems, "E-SHEET-002", what, sheet, column, str(name))
        runs.append(Run(str(name), matrix, tuple(dict.fromkeys(contigs))))
    merged = table if side.samples is None else _beside(side.samples, table, sheet, problems)
    header = (*side.header, *map(str, frame.columns))
    files = (side.samples_file or sheet, side.patients_file)
    return runs, SideTables(merged, side.patients, *files, header)


def _place(value: str, sheet: str, column: str, sample: str, problems: Problems) -> Path | None:
    path = Path(sheet).parent / value
    if value and path.exists():
        return path
    what = f"{value} does not exist" if value else "no path is given"
    _missing(problems, "E-SHEET-002", what, sheet, column, sample)
    return None


def _missing(
    problems: Problems, code: str, what: str, sheet: str, column: str, sample: str = ""
) -> None:
    mend = (
        "correct the path; relative paths start at the folder of the sheet"
        if code == "E-SHEET-002"
        else "give a CSV with columns sample, patient, gex and vdj, or a cellranger multi folder"
    )
    problems.error(
        Problem(code=code, what=what, mend=mend, file=sheet, sample=sample, column=column)
    )


def _beside(
    samples: pd.DataFrame, table: pd.DataFrame, sheet: str, problems: Problems
) -> pd.DataFrame:
    """The sample table, with the columns and samples that only the sheet has."""
    both = samples.index.intersection(table.index)
    if "patient" in samples and "patient" in table:
        differ = both[(samples.loc[both, "patient"] != table.loc[both, "patient"]).to_numpy()]
        for name in differ:
            values = (samples.loc[name, "patient"], table.loc[name, "patient"])
            problems.error(
                Problem(
                    code="E-SMP-001",
                    what=f"patient {values[0]} in the sample table, {values[1]} in the sheet",
                    mend="give each sample one patient",
                    file=sheet,
                    sample=str(name),
                    column="patient",
                )
            )
    return samples.combine_first(table)


def refuse_copies(runs: list[Run], shared: set[Path], sheet: str, problems: Problems) -> None:
    """Report files that two samples share, by content; those in `shared` may be the same."""
    users: dict[Path, list[str]] = defaultdict(list)
    for run in runs:
        for file in {run.gex, *run.contigs} - shared:
            users[file.resolve()].append(run.sample)
    by_size: dict[int, list[Path]] = defaultdict(list)
    for file in users:
        by_size[file.stat().st_size].append(file)
    by_hash: dict[str, list[Path]] = defaultdict(list)
    for files in by_size.values():
        for file in files:
            # only files of equal size can be copies of each other
            key = _digest(file) if len(files) > 1 else str(file)
            by_hash[key].append(file)
    for files in by_hash.values():
        samples = sorted(name for file in files for name in users[file])
        if len(samples) > 1:
            problems.error(
                Problem(
                    code="E-SHEET-003",
                    what=f"samples {', '.join(samples)} have the same file: "
                    + ", ".join(file.name for file in files),
                    mend="give each sample its own files",
                    file=sheet,
                    sample=samples[0],
                    count=len(samples),
                )
            )


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
