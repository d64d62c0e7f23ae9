"""Reads single elements of an AnnData group: matrices as canonical CSR, tables as frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.checks.survey import Survey, survey
from recart.problems import InputError, Problem

__all__ = [
    "Rows",
    "as_csr",
    "by_rows",
    "members",
    "read_frame",
    "read_levels",
    "read_matrix",
    "read_node",
    "read_numbers",
    "survey_node",
]

Rows = np.ndarray[Any, np.dtype[np.int64]]

_SLAB: Final = 1 << 14  # rows of a file that are read at once
_EXACT_HALF: Final = 2048  # up to which float16 holds every whole number


def members(group: h5py.Group, name: str) -> list[str]:
    """Names inside the subgroup `name`; none where it is absent or no group."""
    inner = group.get(name)
    return list(inner) if isinstance(inner, h5py.Group) else []


def read_node(group: h5py.Group, name: str, file: str) -> object:
    """Any element by its path in the group, through anndata.

    Raises
    ------
    InputError
        If it is missing or cannot be decoded, naming the element.
    """
    from anndata.io import read_elem

    where = f"{group.name.rstrip('/')}/{name}"
    try:
        return read_elem(group[name])
    except Exception as error:  # anndata raises whatever its decoders raise
        raise InputError([_undecoded(file, where, error, missing=name not in group)]) from error


def _undecoded(file: str, where: str, error: Exception, *, missing: bool = False) -> Problem:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return Problem(
        code="E-FILE-005",
        what="is missing" if missing else f"cannot be decoded ({reason[:120]})",
        mend="write the file anew with a current anndata",
        file=file,
        feature=where,
    )


def read_frame(group: h5py.Group, name: str, file: str) -> pd.DataFrame:
    """`obs`, `var` or a table of `obsm`, its categories as plain values and its index as text."""
    frame = read_node(group, name, file)
    if not isinstance(frame, pd.DataFrame):
        raise InputError(
            [
                Problem(
                    code="E-FILE-005",
                    what=f"is a {type(frame).__name__}, not a table",
                    mend="write the file anew with a current anndata",
                    file=file,
                    feature=f"{group.name.rstrip('/')}/{name}",
                )
            ]
        )
    plain = {
        column: frame[column].astype(object)
        if isinstance(frame[column].dtype, pd.CategoricalDtype)
        else frame[column]
        for column in frame.columns
    }
    return pd.DataFrame(plain, index=pd.Index(frame.index.astype(str), dtype=object, name=None))


def read_levels(group: h5py.Group, name: str) -> dict[str, tuple[str, ...]]:
    """Levels of the ordered columns of a table that can be read, in their order, as text."""
    found: dict[str, tuple[str, ...]] = {}
    for column, node in group[name].items() if isinstance(group.get(name), h5py.Group) else ():
        if isinstance(node, h5py.Group) and node.attrs.get("ordered", False):
            levels = read_node(node, "categories", "")
            found[column] = tuple(str(level) for level in np.asarray(levels).tolist())
    return found


def read_matrix(
    group: h5py.Group, name: str, file: str, rows: Rows | None = None
) -> sparse.csr_matrix:
    """A matrix, dense or sparse, as canonical CSR: all of it, or `rows` (ascending) alone."""
    where = f"{group.name.rstrip('/')}/{name}"
    if rows is None or name not in group:
        return as_csr(read_node(group, name, file), file, where)
    node = group[name]
    if not by_rows(node):
        return as_csr(read_node(group, name, file), file, where)[rows]
    try:
        parts = [as_csr(part, file, where) for part in _slabs(node, rows)]
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise InputError([_undecoded(file, where, error)]) from error
    return sparse.csr_matrix(sparse.vstack(parts, format="csr")) if len(parts) > 1 else parts[0]


def by_rows(node: h5py.Group | h5py.Dataset) -> bool:
    """Whether some rows of a matrix can be read without the others."""
    if isinstance(node, h5py.Dataset):
        return len(node.shape) == 2
    kind = node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", ""))
    return kind in ("csr_matrix", "csr")


def read_numbers(group: h5py.Group, name: str, file: str, rows: Rows) -> tuple[Any, list[str]]:
    """Rows of a table of numbers, or of a dense matrix, and the names of its columns."""
    node = group[name]
    if isinstance(node, h5py.Group) and node.attrs.get("encoding-type", "") == "dataframe":
        names = [str(column) for column in node.attrs["column-order"]]
        if all(isinstance(node[column], h5py.Dataset) for column in names):
            columns = [np.concatenate(list(_slabs(node[column], rows))) for column in names]
            return np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0)), names
        return read_frame(group, name, file).iloc[rows].to_numpy(), names
    return read_matrix(group, name, file, rows).toarray(), []


def _slabs(node: h5py.Group | h5py.Dataset, rows: Rows) -> Iterator[Any]:
    """The rows, slab by slab of the file; slabs that hold none of them are not read."""
    from anndata.io import sparse_dataset

    source: Any = node if isinstance(node, h5py.Dataset) else sparse_dataset(node)
    if not len(rows):
        yield source[0:0]
    for start in np.unique(rows // _SLAB) * _SLAB:
        own = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + _SLAB)]
        slab = source[int(own[0]) : int(own[-1]) + 1]
        yield slab if len(own) == slab.shape[0] else slab[own - own[0]]


def as_csr(matrix: object, file: str, where: str) -> sparse.csr_matrix:
    """CSR with sorted indices, no duplicate entries and no stored zeros, in its numeric type.

    Raises
    ------
    InputError
        If the matrix holds anything but numbers, or some that its type may have rounded.
    """
    values: Any = matrix if sparse.issparse(matrix) else np.asarray(matrix)
    if values.dtype.kind not in "biuf" or len(values.shape) != 2:
        raise InputError(
            [
                Problem(
                    code="E-RNA-009",
                    what=f"is {len(values.shape)}-dimensional of type {values.dtype}",
                    mend="store a matrix of numbers",
                    file=file,
                    feature=where,
                )
            ]
        )
    if values.dtype == np.float16:  # which sparse matrices do not take
        if (np.abs(values) > _EXACT_HALF).any():
            raise InputError(
                [
                    Problem(
                        code="E-RNA-009",
                        what=f"is of type float16, which is not exact above {_EXACT_HALF}",
                        mend="write it anew from the counts, as int32 or float32",
                        file=file,
                        feature=where,
                    )
                ]
            )
        values = values.astype(np.float32)
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    csr = sparse.csr_matrix(values)
    if csr.indptr.dtype != csr.indices.dtype:  # files may differ in them, scipy does not allow it
        csr = sparse.csr_matrix((csr.data, csr.indices, csr.indptr), shape=csr.shape)
    csr.sum_duplicates()
    csr.eliminate_zeros()
    return csr


def survey_node(node: h5py.Group | h5py.Dataset) -> Survey:
    """`Survey` of the stored values of a matrix on disk, read in blocks."""
    values = node["data"] if isinstance(node, h5py.Group) else node
    if values.dtype.kind not in "biuf":
        return Survey()
    per_row = max(1, int(np.prod(values.shape[1:], dtype=np.int64)))
    step = max(1, (1 << 22) // per_row)
    total = Survey()
    for start in range(0, values.shape[0], step):
        total += survey(values[start : start + step])
    return total
