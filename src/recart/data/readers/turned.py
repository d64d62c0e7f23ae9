"""A sparse matrix that lies column by column, turned into rows on disk, never whole in memory.

What is wanted of it are the cells of some patients, and each column has all cells. Its entries are
read once, in the order of the file, and dealt to bands of rows, a file each; then each band is
sorted and appended to a matrix that lies row by row.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, final

import h5py
import numpy as np
from scipy import sparse

from recart.data.readers.hdf5_guard import damaged
from recart.problems import InputError

__all__ = ["Turned", "by_columns", "turn"]

_ENTRIES: Final = 1 << 22  # that are read at once
_BAND: Final = 1 << 24  # entries of a band, about: some 200 MB
_BYTES: Final = 28  # on disk for an entry, at most: as it was dealt, and as it is written

Entries = np.ndarray[Any, Any]


@final
class Turned:
    """The file of the turned matrix, in a folder of its owner alone; gone when nobody holds this.

    Attributes
    ----------
    path
        An HDF5 file with the matrix as `X`.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "turned.h5"
        self._gone = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)


def by_columns(node: h5py.Group | h5py.Dataset) -> bool:
    """Whether a matrix lies column by column."""
    if isinstance(node, h5py.Dataset):
        return False
    return node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "")) in (
        "csc_matrix",
        "csc",
    )


def turn(node: h5py.Group, file: str) -> Turned | None:
    """Turn a matrix; None where the folder for temporary files (`TMPDIR`) has no room for it.

    It is of numbers, or else None as well.

    Raises
    ------
    InputError
        If it can't be read, or its indices are not those of a matrix.
    """
    if node["data"].dtype.kind not in "biuf":
        return None  # which reading it says
    entries = int(node["data"].shape[0])
    if shutil.disk_usage(tempfile.gettempdir()).free < _BYTES * entries:
        return None
    folder = Path(tempfile.mkdtemp(prefix="recart-"))
    turned = Turned(folder)
    try:
        rows, columns = (int(own) for own in _shape(node))
        per_band = max(1, rows * _BAND // max(entries, 1))
        bands = -(-rows // per_band)
        for own in _entries(node, rows, columns):
            _deal(own, per_band, folder)
        _write(turned.path, folder, bands, per_band, (rows, columns), node["data"].dtype)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise InputError([damaged(file, error)]) from error
    return turned


def _shape(node: h5py.Group) -> Any:
    return node.attrs["shape" if "shape" in node.attrs else "h5sparse_shape"]


def _entries(node: h5py.Group, rows: int, columns: int) -> Iterator[Entries]:
    """All entries, some at a time: `row`, `column`, `value`."""
    indptr = node["indptr"][:].astype(np.int64)
    total = int(node["data"].shape[0])
    if len(indptr) != columns + 1 or indptr[-1] != total or (np.diff(indptr) < 0).any():
        raise ValueError("indptr of a sparse matrix does not fit its shape")
    kind = [("row", np.int32), ("column", np.int32), ("value", node["data"].dtype)]
    for start in range(0, total, _ENTRIES):
        stop = min(start + _ENTRIES, total)
        own = np.empty(stop - start, dtype=kind)
        own["row"] = node["indices"][start:stop]
        own["column"] = np.searchsorted(indptr, np.arange(start, stop), side="right") - 1
        own["value"] = node["data"][start:stop]
        if own["row"].min() < 0 or own["row"].max() >= rows:
            raise ValueError("indices of a sparse matrix lie outside of its shape")
        yield own


def _deal(entries: Entries, per_band: int, folder: Path) -> None:
    band = entries["row"] // per_band
    order = np.argsort(band, kind="stable")
    bands, starts = np.unique(band[order], return_index=True)
    for number, own in zip(bands, np.split(order, starts[1:]), strict=True):
        with (folder / str(number)).open("ab") as stream:
            entries[own].tofile(stream)


def _write(
    path: Path,
    folder: Path,
    bands: int,
    per_band: int,
    shape: tuple[int, int],
    dtype: np.dtype[Any],
) -> None:
    from anndata.io import sparse_dataset, write_elem

    kind = [("row", np.int32), ("column", np.int32), ("value", dtype)]
    with h5py.File(path, "w") as file:
        for number in range(bands):
            first = number * per_band
            dealt = folder / str(number)
            own = np.fromfile(dealt, kind) if dealt.exists() else np.empty(0, kind)
            dealt.unlink(missing_ok=True)
            size = (min(per_band, shape[0] - first), shape[1])
            places = (own["row"] - first, own["column"])
            band = sparse.csr_matrix((own["value"], places), shape=size)
            if number:
                sparse_dataset(file["X"]).append(band)
            else:
                write_elem(file, "X", band, dataset_kwargs={"indptr_dtype": np.dtype(np.int64)})
