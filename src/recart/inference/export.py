"""Write what new patients give: cells as AnnData or MuData, patients as Parquet and CSV."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, final

from recart.data.cohort import Cohort
from recart.inference.cell_file import CellFile
from recart.inference.new_patients import NewPatients
from recart.inference.outputs.exported import ExportedOutputs
from recart.problems import InputError, Problem

__all__ = ["Export", "check_apart", "check_output", "export"]

_KINDS = (".h5ad", ".h5mu")
_TABLES = ("predictions.parquet", "predictions.csv", "patients.parquet", "patients.csv")
_BESIDE = (*_TABLES, "features.csv")  # after the stem of the file of cells


def check_output(output: Path) -> None:
    """Refuse an output that could not be written, before any work.

    Raises
    ------
    InputError
        If the suffix is neither `.h5ad` nor `.h5mu`, or the folder is not there.
    """
    problems = []
    if output.suffix not in _KINDS:
        problems.append(
            Problem(
                code="E-OUT-001",
                what=f"output ends in '{output.suffix}'",
                mend="give a file that ends in .h5ad or .h5mu",
                file=output.name,
            )
        )
    if not output.parent.is_dir():
        problems.append(
            Problem(
                code="E-OUT-002",
                what="the folder of the output is not there",
                mend=f"mkdir -p {output.parent}",
                file=output.name,
            )
        )
    if problems:
        raise InputError(problems)


def check_apart(output: Path, read: Sequence[Path]) -> None:
    """Refuse an output that would stand in the place of what is read, under whatever name.

    Raises
    ------
    InputError
        Naming each file that would be lost.
    """
    written = [output, *(output.with_name(f"{output.stem}.{name}") for name in _BESIDE)]
    lost = [path for path in written if any(_same_file(path, own) for own in read)]
    if lost:
        raise InputError(
            Problem(
                code="E-OUT-012",
                what="this file is read, and the output would be written over it",
                mend="give the output another name, or another folder",
                file=path.name,
                column="output",
            )
            for path in lost
        )


def _same_file(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()


@final
class Export:
    """Files of embedded patients, whole or not at all: they are put in place when all is written.

    Cells keep their ids and columns, but those of receptor chains, and their order within a part;
    words become categories, which have no order of their own. Protein counts are NaN where a sample
    was not measured. `obsm["X_recart"]` is the embedding, `obs` says what was predicted for the
    cell's patient, `uns["recart"]` which model did it.

    Where outputs are exported, `layers["denoised_rna"]` has entries for the genes with
    `var["recart_modelled"]`, and protein outputs are tables in `obsm` under their names, with
    `obsm["protein_measured"]` False where a value was imputed. In MuData they stand in `rna`, and
    those of the panel's proteins as layers of `prot` as well.

    Parameters
    ----------
    output
        File of the cells; the tables stand beside it.
    about
        What is said of the model.
    """

    def __init__(self, output: Path, about: dict[str, str]) -> None:
        self.output = output
        self._part = output.with_name(f".{output.name}.{os.getpid()}.part{output.suffix}")
        self._cells = CellFile(self._part, about)
        self._new: list[NewPatients] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cells.close()
        self._part.unlink(missing_ok=True)

    def add(
        self, cohort: Cohort, new: NewPatients, exported: ExportedOutputs | None = None
    ) -> None:
        """Add patients: the cells as they were read, and what was found."""
        self._cells.add(cohort, new, exported)
        self._new.append(new)

    def finish(self) -> tuple[NewPatients, list[Path]]:
        """Put everything in place; returns all patients, and the files."""
        new = NewPatients.joined(self._new)
        self._cells.finish()
        tables = {"predictions": new.patients, "patients": new.embedding}
        written = []
        for name, table in tables.items():
            named = table.rename_axis("bag").reset_index()
            named.columns = named.columns.astype(str)
            for suffix, write in ((".parquet", named.to_parquet), (".csv", named.to_csv)):
                path = self.output.with_name(f"{self.output.stem}.{name}{suffix}")
                _whole(path, partial(write, index=False))
                written.append(path)
        os.replace(self._part, self.output)
        return new, [self.output, *written]


def export(
    cohort: Cohort,
    new: NewPatients,
    output: Path,
    about: dict[str, str],
    exported: ExportedOutputs | None = None,
) -> list[Path]:
    """Write one cohort, see `Export`; returns the files."""
    with Export(output, about) as out:
        out.add(cohort, new, exported)
        return out.finish()[1]


def _whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside the target, then rename: nothing half-written is left behind."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
