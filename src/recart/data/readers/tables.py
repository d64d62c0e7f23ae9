"""Reads `samples.csv`, `patients.csv` and sample sheets: ids stay text, numbers become numbers."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from recart.problems import Problem, Problems

__all__ = ["as_text", "is_missing", "read_table", "typed"]

# `none` is a value, such as of toxicity; `None` is how Python writes that there is no value
_MISSING: Final = frozenset({"", "na", "n/a", "nan", "null", "<na>", "-"})
_NONE: Final = "None"
_GZIP: Final = b"\x1f\x8b"
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_DECIMAL_COMMA: Final = re.compile(r"^-?\d+,\d+$")


def read_table(
    path: str | Path, problems: Problems, *, may_be_empty: bool = False
) -> pd.DataFrame | None:
    """A CSV (or tab-separated) table with every field as stripped text; None after an error.

    UTF-8 with or without byte-order mark, any line ending and gzip are taken; everything else is an
    error that says where. With `may_be_empty` a header alone is a table.
    """
    file = str(path)

    def error(code: str, what: str, mend: str, column: str = "") -> None:
        problems.error(Problem(code=code, what=what, mend=mend, file=file, column=column))

    try:
        with Path(path).open("rb") as stream:
            if stream.read(len(_HDF5)) == _HDF5:
                mend = "give a CSV; a matrix of Cell Ranger is named in a sample sheet"
                error("E-FILE-004", "is an HDF5 file, no table", mend)
                return None
        raw = Path(path).read_bytes()
    except OSError as failure:
        error("E-FILE-001", f"cannot be opened ({failure.strerror})", "correct the path")
        return None
    if raw.startswith(_GZIP):
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as failure:
            error("E-FILE-003", f"gzip cannot unpack it ({failure})", "copy the file again")
            return None
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        error("E-CSV-001", "is UTF-16", "save it as CSV UTF-8")
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        line = raw.count(b"\n", 0, failure.start) + 1
        what = f"byte 0x{raw[failure.start]:02x} in line {line} (offset {failure.start})"
        error("E-CSV-001", f"{what} is not UTF-8", "save it as CSV UTF-8")
        return None
    if not text.strip():
        error("E-CSV-004", "holds no rows", "write a header and one row each")
        return None
    separator = _separator(text)
    if separator == ";":
        error("E-CSV-002", "is separated by semicolons", "save it with commas")
        return None
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    rows = [row for row in rows if any(field.strip() for field in row)]
    header = [name.strip() for name in rows[0]]
    ragged = [str(i + 2) for i, row in enumerate(rows[1:]) if len(row) != len(header)]
    if ragged or (len(rows) == 1 and not may_be_empty):
        what = f"rows {', '.join(ragged[:5])} have another number of fields than the header"
        error("E-CSV-004", what if ragged else "holds a header only", "correct the rows")
        return None
    twice = [name for name, n in Counter(header).items() if n > 1]
    if twice:
        error("E-CSV-005", "the column name stands twice", "rename one of them", twice[0])
        return None
    fields = [[field.strip() for field in row] for row in rows[1:]]
    frame = pd.DataFrame(fields, columns=pd.Index(header), dtype=object)
    for name in header:
        commas = [value for value in frame[name] if _DECIMAL_COMMA.match(value)]
        present = [value for value in frame[name] if not is_missing(value)]
        if commas and len(commas) >= len(present) / 2:
            error("E-CSV-003", f"decimal comma ({commas[0]})", "write decimal points", name)
    return frame


def _separator(text: str) -> str:
    first = text.lstrip().splitlines()[0]
    return max(",\t;", key=lambda mark: (first.count(mark), mark == ","))


def typed(frame: pd.DataFrame, text: Collection[str]) -> pd.DataFrame:
    """The frame with missing marks as NaN and, outside the columns `text`, numbers as numbers.

    Ids must be among `text`: there `001`, `1E5` and `NA` stay what they are.
    """
    out = frame.copy()
    for name in frame.columns:
        if name in text:
            continue
        values = frame[name].map(lambda v: np.nan if is_missing(v) else v)
        numbers = pd.to_numeric(values, errors="coerce")
        out[name] = numbers if numbers.notna().equals(values.notna()) else values
    return out


def is_missing(value: object) -> bool:
    """Whether a field says that there is no value."""
    if not isinstance(value, str):
        return bool(pd.isna(value))  # type: ignore[call-overload]
    return value == _NONE or value.lower() in _MISSING


def as_text(values: pd.Series) -> pd.Series:
    """Ids as stripped text; whole numbers lose the `.0` that a missing value gave them."""

    def text(value: object) -> object:
        if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
            return np.nan
        if isinstance(value, (float, np.floating)) and float(value).is_integer():
            return str(int(value))
        return str(value).strip() or np.nan

    unique = pd.Index(values.astype(object).unique())
    table = {value: text(value) for value in unique}
    return values.astype(object).map(table).astype(object)
