"""One FCS file: its events by channel, compensated, as measured or on an arcsinh scale."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from recart.data.names.isotopes import without_isotope
from recart.problems import InputError, Problem

__all__ = ["Events", "on_arcsinh_scale", "read_fcs"]

# scatter and time have units of their own, in which gates are drawn on them
_LINEAR: Final = re.compile(r"(FSC|SSC|TIME|EVENT)", re.IGNORECASE)
# of a signal's pulse cytometers write the area, and where asked its height and width
_AREA: Final = re.compile(r"-A$", re.IGNORECASE)
_HEIGHT_OR_WIDTH: Final = re.compile(r"-[HW]$", re.IGNORECASE)

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Events:
    """Events of one file: `values` (events, channels), and two names of each channel.

    `detectors` are the names of the instrument ($PnN), `markers` those of the panel ($PnS), empty
    where none was given.
    """

    values: Array
    detectors: tuple[str, ...]
    markers: tuple[str, ...]

    @property
    def dyes(self) -> list[int]:
        """Columns that are neither scatter nor time."""
        return [at for at, name in enumerate(self.detectors) if not _LINEAR.match(name)]

    def areas(self, columns: Sequence[int]) -> list[int]:
        """Those of `columns` that are no height or width of a signal whose area is among them."""
        measured = {
            _AREA.sub("", name).lower()
            for at in columns
            if _AREA.search(name := self.detectors[at])
        }
        return [
            at
            for at in columns
            if not _HEIGHT_OR_WIDTH.search(name := self.detectors[at])
            or _HEIGHT_OR_WIDTH.sub("", name).lower() not in measured
        ]

    def column(self, channel: str) -> int | None:
        """The one channel with this marker, else detector, else marker behind an isotope; or None.

        Case is ignored; of a signal that has an area, the area is meant.
        """
        wanted = channel.strip().lower()
        bare = [without_isotope(marker) for marker in self.markers]
        for names in (self.markers, self.detectors, bare):
            found = self.areas([at for at, name in enumerate(names) if name.lower() == wanted])
            if len(found) == 1:
                return found[0]
        return None


def read_fcs(path: Path, *, compensate: bool) -> Events:
    """Read a file of version 2.0 to 3.1; values are as measured.

    Parameters
    ----------
    path
        The file; gains, logarithmic amplifiers and time steps that it names are applied.
    compensate
        Whether the file's own spillover matrix, where it has one, is undone first.

    Raises
    ------
    InputError
        If flowio is not installed, or the file is no sound FCS file.
    """
    if find_spec("flowio") is None:
        raise _error(path, "E-GATE-001", "FCS files need the package flowio", _INSTALL)
    import flowio

    try:
        with path.open("rb") as stream:
            flow = flowio.FlowData(stream)
            values = np.array(flow.as_array(preprocess=True), dtype=np.float64)
        detectors = tuple(str(name).strip() for name in flow.pnn_labels)
        markers = tuple(str(name or "").strip() for name in flow.pns_labels)
        spill = next((flow.text[key] for key in _SPILL if key in flow.text), None)
    except OSError as error:
        reason = error.strerror or "it can't be opened"
        raise _error(
            path, "E-GATE-002", f"cannot be opened ({reason})", "correct the path"
        ) from None
    except Exception as error:  # flowio raises whatever its decoding raises
        what = f"is no sound FCS file ({type(error).__name__}: {str(error)[:120]})"
        raise _error(path, "E-GATE-003", what, "export the file again as FCS 3.0 or 3.1") from error
    if compensate and spill:
        values = _compensated(values, detectors, spill, path)
    return Events(values=values, detectors=detectors, markers=markers)


def on_arcsinh_scale(events: Events, cofactor: float) -> Events:
    """Fluorescence as arcsinh(value / cofactor); scatter and time stay as they are."""
    values = events.values.copy()
    values[:, events.dyes] = np.arcsinh(values[:, events.dyes] / cofactor)
    return replace(events, values=values)


_SPILL: Final = ("spill", "spillover")
_INSTALL: Final = "pip install -e '.[cytometry]' in recart's checkout"


def _compensated(values: Array, detectors: tuple[str, ...], spill: str, path: Path) -> Array:
    """The signals of the dyes: what was measured is each dye's signal times its row of `spill`."""
    mend = "export the file again, or set compensate=false (of data.gates or data.reader)"
    parts = [part.strip() for part in spill.split(",")]
    try:
        count = int(parts[0])
        names = parts[1 : 1 + count]
        absent = [name for name in names if name not in detectors]
        if absent:
            raise ValueError(f"the file has no channel {', '.join(absent)}")
        matrix = np.array(parts[1 + count : 1 + count + count * count], dtype=np.float64)
        columns = [detectors.index(name) for name in names]
        solved = np.linalg.solve(matrix.reshape(count, count).T, values[:, columns].T).T
    except (ValueError, np.linalg.LinAlgError) as error:
        what = f"its spillover matrix can't be undone ({str(error)[:120]})"
        raise _error(path, "E-GATE-004", what, mend) from error
    compensated = values.copy()
    compensated[:, columns] = solved
    return compensated


def _error(path: Path, code: str, what: str, mend: str) -> InputError:
    return InputError([Problem(code=code, what=what, mend=mend, file=path.name)])
