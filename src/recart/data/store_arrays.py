"""The arrays of a store that grow with its cells: how they lie on disk, and what fits in memory.

They are written piece by piece, so that a store may be larger than memory, in chunks of about a
thousand cells that are read whole, packed into shards so that a large cohort is some hundred files.
"""

from __future__ import annotations

import math
from typing import Any, Final, final

import numpy as np
import zarr
from scipy import sparse
from zarr.codecs import BloscCodec

from recart.data.rows import RowArray

__all__ = ["CsrOnDisk", "read_csr", "size_in_memory", "write_dense", "write_rna"]

# Of the layouts tried, the fastest to read by 1,000 cells that needs few files: a chunk holds about
# 750 cells of 350 non-zeros, a shard 32 chunks.
_CHUNK: Final = 2**18  # non-zeros
_CHUNK_ROWS: Final = 1024  # rows of a dense array
_SHARD: Final = 32  # chunks
_WRITTEN: Final = 2**14  # rows written at once


@final
class CsrOnDisk:
    """A CSR matrix in Zarr, as anndata writes it, read by contiguous rows.

    Only the index pointers are in memory. It stands for anndata's `CSRDataset`, which spends some
    milliseconds on each slice besides reading it.

    Parameters
    ----------
    group
        The matrix's group.
    """

    def __init__(self, group: zarr.Group) -> None:
        parts: list[Any] = [group[name] for name in ("data", "indices", "indptr")]
        self._data, self._indices = parts[:2]
        self._start: np.ndarray[Any, Any] = parts[2][...]
        rows, columns = _shape(group)
        self.shape = (rows, columns)
        self.dtype: np.dtype[Any] = self._data.dtype

    def __getitem__(self, rows: slice, /) -> sparse.csr_matrix:
        """Rows `start` to `stop`, in memory."""
        start, stop, _ = rows.indices(self.shape[0])
        pointers = self._start[start : max(start, stop) + 1]
        own = slice(int(pointers[0]), int(pointers[-1]))
        return sparse.csr_matrix(
            (self._data[own], self._indices[own], (pointers - pointers[0]).astype(np.int32)),
            shape=(len(pointers) - 1, self.shape[1]),
        )


def write_rna(group: zarr.Group, rna: RowArray) -> None:
    """Write a CSR matrix as `X`, as anndata writes it; `rna` is read slice by slice."""
    from anndata.io import sparse_dataset, write_elem

    layout = {
        "chunks": (_CHUNK,),
        "shards": (_SHARD * _CHUNK,),
        "compressors": [_compressor()],
        # a large cohort has more than 2^31 non-zeros, which is not known before the end
        "indptr_dtype": np.dtype(np.int64),
    }
    write_elem(group, "X", sparse.csr_matrix(rna[0:_WRITTEN]), dataset_kwargs=layout)
    for start in range(_WRITTEN, rna.shape[0], _WRITTEN):
        piece = sparse.csr_matrix(rna[start : start + _WRITTEN])
        sparse_dataset(group["X"]).append(piece)


def write_dense(group: zarr.Group, name: str, array: RowArray) -> None:
    """Write a dense (c, ...) array, as anndata writes it; `array` is read slice by slice."""
    from anndata.io import write_elem

    columns = tuple(max(1, size) for size in array.shape[1:])
    layout = {
        "chunks": (_CHUNK_ROWS, *columns),
        "shards": (_SHARD * _CHUNK_ROWS, *columns),
        "compressors": [_compressor()],
    }
    write_elem(group, name, array[0:_WRITTEN], dataset_kwargs=layout)
    written: Any = group[name]
    for start in range(_WRITTEN, array.shape[0], _WRITTEN):
        written.append(array[start : start + _WRITTEN])


def read_csr(group: zarr.Group) -> sparse.csr_matrix:
    """The matrix in memory, with the smallest index type that scipy can compute with."""
    parts: list[Any] = [group[name] for name in ("data", "indices", "indptr")]
    # the constructor narrows the index pointers to the type of the indices
    return sparse.csr_matrix(tuple(part[...] for part in parts), shape=_shape(group))


def size_in_memory(group: zarr.Group) -> int:
    """Bytes of the arrays that grow with the cells, were they read into memory."""
    found: list[Any] = [group[f"X/{name}"] for name in ("data", "indices", "indptr")]
    found += [group[name] for name in ("obsm/protein", "uns/receptor") if name in group]
    return sum(math.prod(array.shape) * array.dtype.itemsize for array in found)


def _shape(group: zarr.Group) -> tuple[int, int]:
    shape: Any = group.attrs["shape"]
    rows, columns = map(int, shape)
    return rows, columns


def _compressor() -> BloscCodec:
    return BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")
