"""The gating table: gates by name, each a box of channels inside its parent gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from recart.data.gates.fcs_file import Events
from recart.data.readers.tables import read_table
from recart.problems import InputError, Problem, Problems

__all__ = ["Gate", "gate_masks", "gate_shares", "read_gating_table"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]

_COLUMNS: Final = ("gate", "parent", "channel", "low", "high")


class Bound(NamedTuple):
    """A channel's range: low <= value < high; infinite where a side is open."""

    channel: str
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Events of `parent` (empty: all events) that lie inside all of `bounds`."""

    name: str
    parent: str
    bounds: tuple[Bound, ...]


def read_gating_table(path: str | Path, problems: Problems) -> list[Gate]:
    """Read `gate,parent,channel,low,high`: a row a channel, so that a gate may have several rows.

    `parent` is empty for gates on all events, `low` or `high` for a side that is open. Gates are in
    an order in which parents come first.
    """
    file = str(path)

    def error(what: str, mend: str, gate: str = "", column: str = "") -> None:
        problems.error(
            Problem(code="E-GATE-005", what=what, mend=mend, file=file, feature=gate, column=column)
        )

    frame = read_table(path, problems)
    if frame is None:
        return []
    lacking = [name for name in _COLUMNS if name not in frame]
    if lacking:
        error(f"has no column {', '.join(lacking)}", f"give {','.join(_COLUMNS)}", "", lacking[0])
        return []
    gates: dict[str, Gate] = {}
    for line, row in enumerate(frame.to_dict("records"), start=2):
        name, parent, channel = (row[column] for column in _COLUMNS[:3])
        bound = _bound(channel, row["low"], row["high"])
        if not name or not channel or "=" in name:
            error(f"line {line} lacks gate or channel, or its name holds '='", "name both", name)
        elif bound is None:
            error(
                f"low {row['low'] or 'empty'}, high {row['high'] or 'empty'} on {channel}",
                "give numbers, low below high, one of them may be empty",
                name,
            )
        elif name in gates and gates[name].parent != parent:
            error(f"has the parents {gates[name].parent!r} and {parent!r}", "name one", name)
        else:
            before = gates[name].bounds if name in gates else ()
            gates[name] = Gate(name=name, parent=parent, bounds=(*before, bound))
    for gate in gates.values():
        if gate.parent and gate.parent not in gates:
            error(f"its parent {gate.parent!r} is no gate", "add it, or leave it empty", gate.name)
    ordered = _parents_first(gates)
    for name in gates.keys() - {gate.name for gate in ordered}:
        if gates[name].parent in gates:
            error("it lies inside itself, or inside a gate without a parent", "mend parent", name)
    return ordered


def _bound(channel: str, low: str, high: str) -> Bound | None:
    try:
        ends = float(low or "-inf"), float(high or "inf")
    except ValueError:
        return None
    sound = ends[0] < ends[1] and not (np.isinf(ends[0]) and np.isinf(ends[1]))
    return Bound(channel, *ends) if sound else None


def _parents_first(gates: dict[str, Gate]) -> list[Gate]:
    """Gates whose parents are all there, each after its parent."""
    ordered: list[Gate] = []
    known = {""}
    while ready := [g for g in gates.values() if g.parent in known and g.name not in known]:
        ordered += ready
        known |= {gate.name for gate in ready}
    return ordered


def gate_shares(gates: Sequence[Gate], events: Events, file: str) -> dict[str, float]:
    """Of the events of each gate's parent, the share inside the gate; NaN where there are none.

    Events without a number in one of the gate's channels count in neither.

    Raises
    ------
    InputError
        As `gate_masks`.
    """
    inside = gate_masks(gates, events, file)
    shares = {}
    for gate in gates:
        known = np.ones(len(events.values), dtype=np.bool_)
        for bound in gate.bounds:
            known &= ~np.isnan(events.values[:, events.column(bound.channel)])
        total = int((inside[gate.parent] & known).sum())
        own = int(inside[gate.name].sum())
        shares[gate.name] = own / total if total else float("nan")
    return shares


def gate_masks(gates: Sequence[Gate], events: Events, file: str) -> dict[str, Mask]:
    """Which events lie inside each gate, and inside "": all.

    Raises
    ------
    InputError
        Naming each channel that the file lacks.
    """
    names = dict.fromkeys(bound.channel for gate in gates for bound in gate.bounds)
    columns = {name: events.column(name) for name in names}
    lacking = [name for name, column in columns.items() if column is None]
    if lacking:
        there = [
            f"{marker} ({detector})" if marker else detector
            for marker, detector in zip(events.markers, events.detectors, strict=True)
        ]
        raise InputError(
            Problem(
                code="E-GATE-006",
                file=file,
                feature=name,
                what="the file has no such channel, or several",
                mend=f"its channels are {', '.join(there[:30])}",
            )
            for name in lacking
        )
    inside: dict[str, Mask] = {"": np.ones(len(events.values), dtype=np.bool_)}
    for gate in gates:
        own = inside[gate.parent].copy()
        for bound in gate.bounds:
            values = events.values[:, columns[bound.channel]]
            own &= (values >= bound.low) & (values < bound.high)
        inside[gate.name] = own
    return inside
