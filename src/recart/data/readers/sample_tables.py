"""The tables beside the cells: `samples.csv` and `patients.csv`."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from recart.data.checks.spelling import unlike_ids
from recart.data.readers.columns import SAMPLE_ROLES, Columns
from recart.data.readers.tables import read_table, typed
from recart.problems import Problem, Problems

__all__ = ["SideTables", "index_table", "read_side_tables"]

# roles that stay text: a batch `01` is not the number 1
_TEXT: tuple[str, ...] = ("sample", "patient", *(role for role in SAMPLE_ROLES if role != "day"))


@dataclass(frozen=True)
class SideTables:
    """Tables indexed by sample and by patient id, columns named by role; None where not given."""

    samples: pd.DataFrame | None = None
    patients: pd.DataFrame | None = None
    samples_file: str = ""
    patients_file: str = ""
    header: tuple[str, ...] = ()

    def source(self) -> dict[str, str]:
        """Files by table, for error messages."""
        files = {"samples": self.samples_file, "patients": self.patients_file}
        return {table: file for table, file in files.items() if file}


def read_side_tables(
    samples: str | None, patients: str | None, columns: Columns, problems: Problems
) -> SideTables:
    """Read both tables, each where its path is given."""
    header: list[str] = []
    tables: dict[str, pd.DataFrame | None] = {"sample": None, "patient": None}
    for role, path in (("sample", samples), ("patient", patients)):
        frame = None if path is None else read_table(path, problems)
        if frame is not None:
            header += [str(name) for name in frame.columns]
            tables[role] = index_table(frame, role, columns, str(path), problems)
    return SideTables(
        tables["sample"], tables["patient"], samples or "", patients or "", tuple(header)
    )


def index_table(
    frame: pd.DataFrame, role: str, columns: Columns, file: str, problems: Problems
) -> pd.DataFrame | None:
    """A table of text as read, by role, typed, indexed by its `sample` or `patient` column."""
    named = columns.rename(frame)
    if role not in named.columns and role == "sample" and "patient" in named.columns:
        named = named.assign(sample=named["patient"])
    if role not in named.columns:
        problems.error(
            Problem(
                code="E-COL-001",
                what=f"has no {role} column among {', '.join(map(str, frame.columns))}",
                mend=f"set data.columns.{role}",
                file=file,
                column=role,
            )
        )
        return None
    ids = named[role]
    for code, what, mend, bad in (
        ("E-ID-003", f"rows without a {role} id", f"name the {role}", ids == ""),
        ("E-SMP-004", f"the {role} stands in several rows", "keep one row", ids.duplicated()),
    ):
        if bad.any():
            values = [value for value in dict.fromkeys(ids[bad]) if value]
            problems.error(
                Problem(
                    code=code,
                    what=what + (f": {', '.join(values[:5])}" if values else ""),
                    mend=mend,
                    file=file,
                    sample=values[0] if values and role == "sample" else "",
                    column=role,
                    count=int(bad.sum()),
                )
            )
    unlike_ids(ids[ids != ""], column=role, file=file, problems=problems)
    table = typed(named, _TEXT).set_index(role)
    table.index = pd.Index(table.index, dtype=object, name=None)
    for name in (name for name in _TEXT if name in table.columns):
        table[name] = table[name].where(table[name] != "")
    return table[~table.index.duplicated()]
