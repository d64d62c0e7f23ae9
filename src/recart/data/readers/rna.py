"""Finds the RNA matrix of an AnnData group: X, a layer, or raw."""

from __future__ import annotations

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from recart.data.checks.spelling import nearest
from recart.data.checks.survey import Survey
from recart.data.readers.elements import Rows, members, read_frame, read_matrix, survey_node
from recart.data.readers.hdf5_guard import opened
from recart.data.readers.turned import Turned
from recart.problems import InputError, Problem

__all__ = ["find_rna", "read_rna"]

_COUNT_LAYERS = ("counts", "raw_counts", "raw", "count", "umi", "umis")


def read_rna(
    group: h5py.Group,
    layer: str | None,
    file: str,
    rows: Rows | None = None,
    turned: Turned | None = None,
    setting: str = "layer",
) -> tuple[sparse.csr_matrix, pd.DataFrame]:
    """RNA matrix and gene table.

    Parameters
    ----------
    group
        An AnnData group.
    layer
        `X`, `raw` or the name of a layer. None takes X, but not where another matrix of the file
        holds counts and X does not: then only the user can say which is meant.
    file
        For error messages.
    rows
        The only cells to be read, ascending; None reads all.
    turned
        The same matrix row by row, where it was turned.
    setting
        What the reader calls `layer`, for error messages.

    Raises
    ------
    InputError
        If there is no such matrix, or the matrices disagree; the error shows what each looks like.
    """
    place = find_rna(group, layer, file, setting)
    genes = read_frame(group, "raw/var" if place == "raw/X" else "var", file)
    if turned is not None:
        with opened(turned.path) as by_row:
            return read_matrix(by_row, "X", file, rows), genes
    return read_matrix(group, place, file, rows), genes


def find_rna(group: h5py.Group, layer: str | None, file: str, setting: str = "layer") -> str:
    """Place of the RNA matrix in the group, see `read_rna`."""
    places = _places(group)
    if layer is None:
        return _agreed(group, places, file, setting)
    if layer in places:
        return places[layer]
    raise InputError(
        [
            Problem(
                code="E-FILE-005",
                what=f"there is no layer {layer!r}",
                mend=f"the file has {', '.join(places) or 'no matrix at all'}"
                + (f"; nearest: {near[0]}" if (near := nearest(layer, list(places))) else ""),
                file=file,
                feature=layer,
            )
        ]
    )


def _places(group: h5py.Group) -> dict[str, str]:
    """Name by which the user calls a matrix -> its place in the group."""
    places = {"X": "X"} if "X" in group else {}
    if "X" in members(group, "raw"):
        places["raw"] = "raw/X"
    for name in members(group, "layers"):
        places[name] = f"layers/{name}"
    return places


def _agreed(group: h5py.Group, places: dict[str, str], file: str, setting: str) -> str:
    if not places:
        raise InputError(
            [
                Problem(
                    code="E-FILE-005",
                    what="is missing, and there is neither raw nor a layer",
                    mend="write the counts into X",
                    file=file,
                    feature=f"{group.name.rstrip('/')}/X",
                )
            ]
        )
    looked = [name for name in places if name in {"X", "raw"} or name.lower() in _COUNT_LAYERS]
    if looked == ["X"]:
        return "X"
    verdicts: dict[str, Survey] = {
        name: survey_node(group[places[name]]) for name in looked or places
    }
    counts = {name: verdict for name, verdict in verdicts.items() if verdict.counts}
    same = len({_total(group, places[name]) for name in counts}) <= 1
    if "X" in counts and same:
        return "X"
    if not counts and "X" in verdicts:
        return "X"
    raise InputError(
        [
            Problem(
                code="E-RNA-008",
                what="; ".join(f"{name}: {verdict}" for name, verdict in verdicts.items()),
                mend="say which is meant: "
                + " or ".join(f"data.reader.{setting}={name}" for name in counts or verdicts),
                file=file,
                feature=f"{group.name.rstrip('/')}/X",
            )
        ]
    )


def _total(group: h5py.Group, place: str) -> float:
    """Sum of all values: two matrices of counts that agree in it hold the same cells and genes."""
    node = group[place]
    values = node["data"] if isinstance(node, h5py.Group) else node
    step = max(1, (1 << 22) // max(1, int(np.prod(values.shape[1:], dtype=np.int64))))
    starts = range(0, values.shape[0], step)
    return float(sum(values[at : at + step].sum(dtype=np.float64) for at in starts))
