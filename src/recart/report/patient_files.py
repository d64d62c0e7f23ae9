"""Writes what is told of each new patient: JSON, FHIR and a page, in a folder of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.inference.cell_pictures import prototypes_of
from recart.inference.launch import Embedded
from recart.inference.records.fhir import risk_assessment
from recart.inference.state_drivers import state_words
from recart.report.patient_figures import Composition, StatesBehind
from recart.report.patient_page import CellsOnMap, patient_page
from recart.report.reference_map import ReferenceMap
from recart.training.run_directory import write_atomically

__all__ = ["write_patient_files"]

# with what each kind of report begins
_OURS: Final = (b"<title>recart: ", b'"schema": "recart-patient-record/', b'"code": "HRESCH"')
_FRACTION = re.compile(r"(?:^|.*:)fractions:(\d+)$")


def write_patient_files(
    embedded: Embedded, kinds: Sequence[str], system: str | None = None
) -> list[Path]:
    """Write the kinds of reports that are asked for, one file a patient and kind.

    Each is written beside its target and then renamed. Files are named after the subject, with
    everything but letters, digits, dots and dashes replaced. Reports that are in the folder already
    are removed first: they tell of other patients, or of another model. Any other file stays.

    Parameters
    ----------
    embedded
        The patients.
    kinds
        Of `json`, `fhir`, `html`.
    system
        Naming system of the subjects, for FHIR.

    Returns
    -------
    The files.
    """
    _remove_former(embedded.folder)
    if not kinds or not embedded.records:
        return []
    embedded.folder.mkdir(exist_ok=True)
    pages = _Pages(embedded) if "html" in kinds else None
    written, names = [], _file_names(embedded.records)
    for number, (bag, record) in enumerate(embedded.records.items()):
        texts = {}
        if "json" in kinds:
            texts["json"] = _json(record)
        if "fhir" in kinds:
            texts["fhir.json"] = _json(risk_assessment(record, system or ""))
        if pages is not None:
            texts["html"] = pages.of(number, bag, record)
        for suffix, text in texts.items():
            path = embedded.folder / f"{names[bag]}.{suffix}"
            write_atomically(path, text.encode())
            written.append(path)
    return written


def _remove_former(folder: Path) -> None:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.suffix in (".json", ".html") and _is_report(path):
            path.unlink()
    with suppress(OSError):  # there is something else in it
        folder.rmdir()


def _is_report(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(1024)
    return any(own in start for own in _OURS)


class _Pages:
    """Pages of patients, over one map."""

    def __init__(self, embedded: Embedded) -> None:
        self._new = embedded.new
        head = prototypes_of(embedded.model.members[0].head)
        self._head = head
        shown = head is not None and self._new.pictures is not None
        self._map = ReferenceMap.of(head) if shown and head is not None else None
        trust = embedded.model.trust
        rules = [] if trust is None else trust.policy.in_force
        self._policy = {rule.code: f"{rule.words}; {rule.mend}" for rule in rules}
        self._states = state_words(self._head) if self._head is not None else []

    def of(self, number: int, bag: str, record: dict[str, Any]) -> str:
        """The page of the bag `bag`, the `number`-th."""
        return patient_page(
            record,
            self._composition(bag),
            self._cells(number),
            self._behind(bag),
            self._policy,
        )

    def _composition(self, bag: str) -> Composition | None:
        if self._head is None:
            return None
        row = self._new.embedding.loc[bag]
        own = {
            int(found[1]): float(row[column])
            for column in reversed(list(row.index))
            if (found := _FRACTION.match(str(column)))
        }
        names = [str(name) for name in self._head.chosen["features"]]
        at = [names.index(f"fractions:{k}") for k in range(len(self._states))]
        scaling = self._head.scaling
        return Composition(
            names=self._states,
            own=np.array([own[k] for k in range(len(self._states))]),
            mean=scaling.mean.numpy()[at],
            low=scaling.low.numpy()[at],
            high=scaling.high.numpy()[at],
            patients=self._head.fitted_bags,
        )

    def _behind(self, bag: str) -> StatesBehind | None:
        states = self._new.drivers.states
        if states is None:
            return None
        return StatesBehind(
            names=[str(name) for name in states.added.columns],
            added=states.added.loc[bag].to_numpy(),
            sd=states.sd.loc[bag].to_numpy(),
            members=states.members,
        )

    def _cells(self, number: int) -> CellsOnMap | None:
        pictures = self._new.pictures
        if self._map is None or pictures is None:
            return None
        flags: pd.DataFrame | None = self._new.cell_flags
        strange = None
        if flags is not None:
            strange = flags["recart_ood"].to_numpy(dtype=bool)[pictures.rows[number]]
        return CellsOnMap(
            method=self._map.method,
            reference=self._map.points,
            cells=self._map.place(pictures.points[number]),
            strange=strange,
        )


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _file_names(records: dict[str, dict[str, Any]]) -> dict[str, str]:
    """By bag; two that would be alike are numbered."""
    names: dict[str, str] = {}
    for bag, record in records.items():
        plain = re.sub(r"[^A-Za-z0-9.-]+", "_", record["subject"]).strip(".") or "patient"
        name, number = plain, 2
        while name in names.values():
            name, number = f"{plain}-{number}", number + 1
        names[bag] = name
    return names
