"""Reads single elements of an AnnData group: matrices as canonical CSR, tables as frames."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.checks.survey import Survey, survey
from recart.problems import InputError, Problem

__all__ = ["as_csr", "members", "read_frame", "read_matrix", "read_node", "survey_node"]


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
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        missing = name not in group
        raise InputError(
            [
                Problem(
                    code="E-FILE-005",
                    what="is missing" if missing else f"cannot be decoded ({reason[:120]})",
                    mend="write the file anew with a current anndata",
                    file=file,
                    feature=where,
                )
            ]
        ) from error


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


def read_matrix(group: h5py.Group, name: str, file: str) -> sparse.csr_matrix:
    """A matrix, dense or sparse, as canonical CSR."""
    return as_csr(read_node(group, name, file), file, f"{group.name.rstrip('/')}/{name}")


def as_csr(matrix: object, file: str, where: str) -> sparse.csr_matrix:
    """CSR with sorted indices, no duplicate entries and no stored zeros, in its numeric type.

    Raises
    ------
    InputError
        If the matrix holds anything but numbers.
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
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    csr = sparse.csr_matrix(values)
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
