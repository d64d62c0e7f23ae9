"""Refuses HDF5 files that reach outside themselves or declare more than they hold.

`anndata.read_h5ad` follows external links and external storage, so a file from elsewhere could pull
in any file of this machine, and a few kilobytes can declare more values than fit in memory. The
walk reads metadata only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py

from recart.problems import InputError, Problem, Problems

__all__ = ["damaged", "guard_hdf5", "opened"]

_FILTERS: Final = frozenset(
    {
        *(h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32),
        *(h5py.h5z.FILTER_SZIP, h5py.h5z.FILTER_NBIT, h5py.h5z.FILTER_SCALEOFFSET),
        h5py.h5z.FILTER_LZF,
    }
)
_MAX_OBJECTS: Final = 200_000
_MAX_ATTRIBUTES: Final = 10_000
# Counts compress about tenfold; only constant values come near deflate's limit of a thousand.
_MAX_RATIO: Final = 250
_RATIO_FROM: Final = 256 * 2**20


@contextmanager
def opened(path: str | Path) -> Iterator[h5py.File]:
    """The file, open for reading; what h5py raises on damaged metadata becomes an `InputError`."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, UnicodeDecodeError) as error:
        raise InputError([damaged(path, error)]) from error


def damaged(path: str | Path, error: Exception) -> Problem:
    """The problem of a file that HDF5 cannot make sense of."""
    return Problem(
        code="E-FILE-003",
        what=f"the file is damaged ({str(error).strip()[:120]})",
        mend="copy or download the file again",
        file=str(path),
    )


def guard_hdf5(path: str | Path, *, max_bytes: int | None = None) -> None:
    """Check links, storage, filters and declared size of every object of the file.

    Parameters
    ----------
    path
        An HDF5 file that opens.
    max_bytes
        Declared bytes above which the file is refused; the physical memory where None.

    Raises
    ------
    InputError
        With every problem found, each naming the element.
    """
    problems = Problems()
    limit = max_bytes or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with opened(path) as file:
            _check_objects(file, str(path), limit, problems)
    except InputError:
        raise
    except ValueError as error:  # a number type that no machine has
        raise InputError([damaged(path, error)]) from error
    problems.raise_if_any()


def _check_objects(file: h5py.File, path: str, limit: int, problems: Problems) -> None:
    declared, largest = 0, ("", 0)
    for count, (name, item) in enumerate(_walk(file, path, problems)):
        if count >= _MAX_OBJECTS:
            problems.error(_too_many(path, name, f"more than {_MAX_OBJECTS} objects"))
            break
        n_attributes = h5py.h5a.get_num_attrs(item.id)
        if n_attributes > _MAX_ATTRIBUTES:
            problems.error(_too_many(path, name, f"{n_attributes} attributes"))
        if isinstance(item, h5py.Dataset):
            _check_storage(item, name, path, problems)
            size = (item.size or 0) * item.dtype.itemsize
            declared += size
            largest = max(largest, (name, size), key=lambda pair: pair[1])
    _check_size(path, declared, largest[0], limit, problems)


def _walk(file: h5py.File, path: str, problems: Problems) -> Iterator[tuple[str, Any]]:
    """Every object reached by hard links, once; other links become problems."""
    seen = {h5py.h5o.get_info(file.id).addr}
    stack: list[tuple[str, h5py.Group]] = [("", file)]
    while stack:
        parent, group = stack.pop()
        yield parent, group
        for key in group:
            name = f"{parent}/{key}"
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                problems.error(
                    Problem(
                        code="E-HDF-001",
                        what="an external link points into another file",
                        mend="copy the data into this file: adata.copy().write_h5ad(...)",
                        file=path,
                        feature=name,
                    )
                )
                continue
            if isinstance(link, h5py.SoftLink):
                problems.error(
                    Problem(
                        code="E-HDF-002",
                        what="a soft link stands where data should; AnnData writes none",
                        mend="write the file anew with anndata or mudata",
                        file=path,
                        feature=name,
                    )
                )
                continue
            item = group[key]
            if not isinstance(item, (h5py.Group, h5py.Dataset)):
                continue
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                stack.append((name, item))
            else:
                yield name, item


def _check_storage(item: h5py.Dataset, name: str, path: str, problems: Problems) -> None:
    plist = item.id.get_create_plist()
    filters = {plist.get_filter(i)[0] for i in range(plist.get_nfilters())}
    rewrite = "write the file anew from data you trust"
    if plist.get_external_count() > 0:
        problems.error(
            Problem(
                code="E-HDF-003",
                what="the dataset keeps its values in an external file",
                mend=rewrite,
                file=path,
                feature=name,
            )
        )
    if item.is_virtual:
        problems.error(
            Problem(
                code="E-HDF-004",
                what="a virtual dataset takes its values from other files",
                mend=rewrite,
                file=path,
                feature=name,
            )
        )
    if filters - _FILTERS:
        problems.error(
            Problem(
                code="E-HDF-005",
                what=f"needs HDF5 filter {', '.join(map(str, sorted(filters - _FILTERS)))}",
                mend="write the file anew with compression='gzip'",
                file=path,
                feature=name,
            )
        )


def _check_size(path: str, declared: int, largest: str, limit: int, problems: Problems) -> None:
    size = Path(path).stat().st_size
    bomb = declared > _RATIO_FROM and declared > _MAX_RATIO * size
    if bomb or declared > limit:
        problems.error(
            Problem(
                code="E-HDF-006",
                what=f"declares {declared / 1e9:.1f} GB in a file of {size / 1e9:.4f} GB"
                + ("" if bomb else f"; this machine has {limit / 1e9:.1f} GB of memory"),
                mend="refuse it if it came from elsewhere"
                if bomb
                else "split the cohort, or use a machine with more memory",
                file=path,
                feature=largest,
            )
        )


def _too_many(path: str, name: str, what: str) -> Problem:
    return Problem(
        code="E-HDF-007",
        what=f"holds {what}",
        mend="write the file anew with anndata or mudata",
        file=path,
        feature=name,
    )
