"""Bags, the units of prediction: the cells of a patient, or of a sample, at decision time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.outcome import LABEL, REASON, Outcome, reason_of_part
from recart.data.stages import sample_days
from recart.data.store import CohortStore
from recart.problems import InputError, Problem

__all__ = [
    "AFTER",
    "NOT_SELECTED",
    "OF_UNKNOWN_DAY",
    "WITHOUT_A_SAMPLE",
    "Admission",
    "Bags",
    "Reading",
    "admitted_samples",
    "make_bags",
    "nothing_admitted",
    "with_blocks",
]

AFTER: Final = "samples after the decision day"
OF_UNKNOWN_DAY: Final = "samples of unknown day"
NOT_SELECTED: Final = "samples of other time points or tissues"
WITHOUT_A_SAMPLE: Final = "patients without an admitted sample"


@dataclass(frozen=True, kw_only=True)
class Admission:
    """Which samples may enter a prediction.

    `decision_day` is in days from infusion: later samples, and samples of unknown day, stay out.
    Empty lists admit every time point and tissue.
    """

    decision_day: float | None = None
    timepoints: Sequence[str] = ()
    tissues: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a head may read of a bag besides latents and clones, as the configuration names it.

    `marker_genes` are read of each cell. `stages` are time points in order; empty orders them by
    their days. `covariates` are columns of the patients or samples, see `recart.data.covariates`.
    """

    marker_genes: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Bags:
    """Attributes: `table`, `slices`, `flow`, `reading`, `decision_day`, `unit`, `outcome`.

    `table` (n): index the bag's pseudonym; `patient` (code), `label` (0/1; -1 where unknown),
    `n_cells`, and `block` (a patient code) where patients stay together in inner folds. `slices`
    (n): contiguous cell ranges of each bag. `flow`: counts of what was left out, in order, for the
    report. `decision_day`: the last day of which anything may be known; None: no such day.
    `unit` is what a bag is: a `patient` or a `sample`.
    `outcome`: what the labels mean; None for response or none (1 and 0). Other outcomes may have
    columns of their own in `table`.
    """

    table: pd.DataFrame
    slices: tuple[tuple[slice, ...], ...]
    flow: dict[str, int] = field(default_factory=dict)
    reading: Reading = Reading()
    unit: str = "patient"
    decision_day: float | None = None
    outcome: Outcome | None = None

    def __len__(self) -> int:
        return len(self.table)

    def of_patients(self, patients: Sequence[int]) -> np.ndarray[Any, np.dtype[np.intp]]:
        """Row numbers of the bags of these patients (codes)."""
        return np.flatnonzero(self.table["patient"].isin(list(patients)).to_numpy())

    @property
    def groups(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """(n) what stays whole in inner folds: each bag's block, or its patient without blocks."""
        table = self.table
        groups: np.ndarray[Any, Any] = table["block" if "block" in table else "patient"].to_numpy()
        return groups

    def cells(self, bags: Sequence[int] | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Cell rows of these bags, in store order."""
        ranges = [np.arange(s.start, s.stop) for n in bags for s in self.slices[int(n)]]
        return np.concatenate(ranges) if ranges else np.zeros(0, dtype=np.int64)


def admitted_samples(store: CohortStore, admission: Admission) -> np.ndarray[Any, Any]:
    """(s) bool: samples on or before the decision day, of the named time points and tissues."""
    keep = np.ones(len(store.samples), dtype=bool)
    wanted: list[tuple[str, Any]] = []
    if admission.decision_day is not None:
        wanted.append(("day", admission.decision_day))
    wanted += [("timepoint", admission.timepoints)] if admission.timepoints else []
    wanted += [("tissue", admission.tissues)] if admission.tissues else []
    absent = [column for column, _ in wanted if column not in store.samples]
    if absent:
        raise InputError(
            Problem(
                code="E-TIME-001",
                what="the samples have no such column, but the configuration selects by it",
                mend=f"map it with data.columns.{column} (constant:VALUE where it is the same "
                "for all), or train without the rule",
                column=column,
            )
            for column in absent
        )
    for column, rule in wanted:
        values = store.samples[column]
        if column == "day":
            keep &= sample_days(store.samples) <= float(rule)
        else:
            keep &= values.astype(str).isin([str(value) for value in rule]).to_numpy()
    return keep


def _left_out(store: CohortStore, admission: Admission, keep: np.ndarray) -> dict[str, int]:
    """How many samples stay out by which rule; each is counted by the first that keeps it out."""
    unknown, late = np.zeros((2, len(keep)), dtype=bool)
    if admission.decision_day is not None:
        days = sample_days(store.samples)
        unknown, late = np.isnan(days), days > float(admission.decision_day)
    return {
        AFTER: int(late.sum()),
        OF_UNKNOWN_DAY: int(unknown.sum()),
        NOT_SELECTED: int((~keep & ~unknown & ~late).sum()),
    }


def nothing_admitted(samples: int) -> Problem:
    """That none of so many samples may enter."""
    return Problem(
        code="E-TIME-002",
        what="none of the samples may enter the prediction",
        mend="check data.decision_day, data.timepoints and data.tissues",
        count=samples,
    )


def make_bags(
    store: CohortStore,
    labels: pd.Series[Any],
    *,
    unit: str,
    admission: Admission,
    reading: Reading | None = None,
    outcome: Outcome | None = None,
    resolved: pd.DataFrame | None = None,
) -> Bags:
    """Bags of the admitted samples.

    `labels` holds 1, 0 or NaN by patient (`unit="patient"`) or by sample (`unit="sample"`),
    in store order. Of an `outcome` that is not one of two classes, `labels` are its own and
    `resolved` what it made of the tables: its further columns go into the bags' table, its reasons
    into the flow.

    Raises
    ------
    InputError
        If a rule selects by a column that the samples lack, or nothing is left.
    """
    keep = admitted_samples(store, admission)
    samples = np.flatnonzero(keep)
    patient_of_sample = store.samples["patient"].to_numpy()
    if unit == "patient":
        of_samples = patient_of_sample[samples]
        groups = [(p, samples[of_samples == p]) for p in range(len(store.patients))]
        names, values = store.patients.index, labels.to_numpy(dtype=float)
    else:
        groups = [(int(s), np.array([s])) for s in samples]
        names, values = store.samples.index, labels.to_numpy(dtype=float)
    rows, slices = [], []
    unlabelled = {f"{unit}s without a label": 0} if resolved is None else {}
    reasons = [] if resolved is None else resolved[REASON].tolist()
    further = {} if resolved is None else _further(resolved)
    of_parts = {} if resolved is None else _reasons_of_parts(resolved)
    for code, own in groups:
        if not len(own):
            continue
        if np.isnan(values[code]):
            why = f"{unit}s without a label" if resolved is None else reasons[code]
            unlabelled[why] = unlabelled.get(why, 0) + 1
        else:
            for part, of_part in of_parts.items():
                if of_part[code]:
                    why = reason_of_part(part, of_part[code])
                    unlabelled[why] = unlabelled.get(why, 0) + 1
        ranges = tuple(store.sample_slice(int(s)) for s in own)
        rows.append(
            {
                "bag": names[code],
                "patient": int(patient_of_sample[own[0]]),
                "label": -1 if np.isnan(values[code]) else int(values[code]),
                "n_cells": sum(r.stop - r.start for r in ranges),
                **{name: column[code] for name, column in further.items()},
            }
        )
        slices.append(ranges)
    if not rows:
        raise InputError([nothing_admitted(len(store.samples))])
    flow = {
        "samples": len(store.samples),
        **_left_out(store, admission, keep),
        WITHOUT_A_SAMPLE: len(store.patients) - len(np.unique(patient_of_sample[samples])),
        **unlabelled,
    }
    return Bags(
        table=pd.DataFrame(rows).set_index("bag"),
        slices=tuple(slices),
        flow=flow,
        reading=reading or Reading(),
        unit=unit,
        decision_day=admission.decision_day,
        outcome=outcome,
    )


def _reasons_of_parts(resolved: pd.DataFrame) -> dict[str, list[str]]:
    """By part that does not lead, why a row has no label of it."""
    prefix = f"{REASON}:"
    return {
        name.removeprefix(prefix): resolved[name].tolist()
        for name in map(str, resolved.columns)
        if name.startswith(prefix)
    }


def _further(resolved: pd.DataFrame) -> dict[str, list[float]]:
    """Columns of an outcome beside its label; a label of a further part is -1 where unknown."""
    names = [name for name in map(str, resolved.columns) if not name.startswith(REASON)]
    own = resolved[names].drop(columns=LABEL)
    return {
        str(name): (own[name].fillna(-1) if str(name).startswith(LABEL) else own[name]).tolist()
        for name in own
    }


def with_blocks(bags: Bags, block_of: Callable[[np.ndarray[Any, Any]], Any]) -> Bags:
    """The same bags with a block each, given the block of patients (codes)."""
    blocks = block_of(bags.table["patient"].to_numpy())
    return replace(bags, table=bags.table.assign(block=blocks))
