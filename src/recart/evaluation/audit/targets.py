"""Targets: a single column, name or order that tells the endpoint by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.covariates import column_of
from recart.data.store import CohortStore
from recart.evaluation.audit.association import Permutations, holm, separation
from recart.evaluation.audit.check import Check
from recart.evaluation.audit.dates import with_days
from recart.evaluation.audit.evaluated_bags import labelled, per_patient, samples_of
from recart.evaluation.audit.finding import Finding, Severity
from recart.evaluation.audit.name_patterns import name_patterns, original_names
from recart.evaluation.baselines.confounders import DESIGN_COLUMNS
from recart.evaluation.predictions import FloatArray
from recart.training.cohort_setup import prepared_folder

if TYPE_CHECKING:
    from recart.evaluation.launch import Evaluated
    from recart.training.run_directory import RunDirectory

__all__ = ["Targets"]

# The store's own columns of samples; a start or stop of patients is one of theirs.
_STRUCTURE: Final = ("patient", "start", "stop", "has_receptor")
_SHOWN: Final = 5
_ORDERS: Final = ("order of the ids", "order in the files")


class _Told(NamedTuple):
    """What one column tells."""

    name: str
    auroc: float
    p: float
    known: int


class _Asked(NamedTuple):
    """A column to be tested: its AUROC, the classes of the patients that have it, and its p."""

    name: str
    auroc: float
    y: FloatArray
    p_of: Callable[[Permutations], float]


@final
@dataclass(frozen=True, kw_only=True)
class Targets(Check):
    """Tests every column of patients and samples by itself, their names, and their order.

    A diagnostic over all evaluated patients. Each column is tested as numbers or as levels, dates
    as both, and by where it is empty. Design columns are left to the check of confounders, cells to
    the model.

    Attributes
    ----------
    p
        Holm-adjusted p-value below which a column is called a sign of the endpoint.
    twin
        AUROC from which on such a column is the endpoint in other words.
    draws
        Permutations behind each p-value; where none is as extreme as the column, and columns are so
        many that this would not be enough, as many more as it takes.
    """

    p: float
    twin: float
    draws: int

    @property
    def name(self) -> str:
        """Name in tables."""
        return "targets"

    @property
    def trains(self) -> bool:
        """It only reads."""
        return False

    def findings(self, evaluated: Evaluated, run: RunDirectory) -> Iterator[Finding]:
        """Each column that tells the endpoint; else the nearest one; names that were not there."""
        cohort = evaluated.cohort
        store, bags = cohort.store, cohort.bags
        rows = labelled(bags)
        ids = original_names(prepared_folder(run) / f"{cohort.key}.ids.csv")
        columns = _columns(store, bags, rows, str(evaluated.config.data.endpoint))
        names = _names(store, bags, rows, ids or {})
        table, y = per_patient(pd.concat([columns, names], axis=1), bags, rows)
        told = self._scan(table, y)
        adjusted = holm({own.name: own.p for own in told})
        there = [str(name) for name in columns.columns]
        entering = {column_of(str(name), there) for name in cohort.extras.columns} & set(there)
        flagged = [own for own in told if adjusted[own.name] < self.p]
        for own in flagged:
            enters = own.name.removeprefix("empty: ") in entering
            yield self._tells(own, adjusted[own.name], enters)
        yield from self._nearest(told, flagged, len(table))
        if ids is None:
            yield Finding(
                check=self.name,
                code="A-TG-009",
                severity=Severity.UNKNOWN,
                what="names of patients and samples were not tested: the map of ids is not there",
                mend="evaluate where the prepared cohort lies",
            )

    def _scan(self, table: pd.DataFrame, y: FloatArray) -> list[_Told]:
        """Every column by itself, on the patients of whom it is known."""
        asked = list(_asked(table, y))
        rounds = 1 + math.floor(len(asked) / (self.p * self.draws))

        @cache
        def first(labels: bytes) -> Permutations:
            return Permutations.draw(np.frombuffer(labels), self.draws)

        told = []
        for own in asked:
            p = own.p_of(first(own.y.tobytes()))
            if math.isclose(p, 1 / (1 + self.draws)):
                more = (Permutations.draw(own.y, self.draws, seed) for seed in range(1, rounds))
                beyond = sum(own.p_of(drawn) * (1 + self.draws) - 1 for drawn in more)
                p = (1 + beyond) / (1 + rounds * self.draws)
            told.append(_Told(own.name, own.auroc, p, len(own.y)))
        return told

    def _tells(self, own: _Told, adjusted: float, enters: bool) -> Finding:
        twin = own.auroc >= self.twin
        sign = f"AUROC {own.auroc:.2f}, " if own.auroc > 0.5 else ""
        numbers = f"{sign}p {own.p:.2g}, {own.known} patients"
        words = "is the endpoint in other words" if twin else "tells the endpoint by itself"
        reads = "and the head reads it" if enters else "which no model reads"
        return Finding(
            check=self.name,
            code="A-TG-001",
            severity=Severity.LEAK if twin and enters else Severity.WARNING,
            what=f"'{own.name}' {words} ({numbers}), {reads}",
            mend="take it out of the bag features"
            if enters
            else "keep it out of the covariates, unless it is known at the decision; where it is a "
            "name or an order, find out who made it and whether they knew the outcome",
            evidence={
                "column": own.name,
                "auroc": own.auroc,
                "p": own.p,
                "p_holm": adjusted,
                "patients": own.known,
                "enters": enters,
            },
        )

    def _nearest(self, told: list[_Told], flagged: list[_Told], patients: int) -> Iterator[Finding]:
        if flagged or not told:
            return
        nearest = sorted(told, key=lambda own: own.p)
        yield Finding(
            check=self.name,
            code="A-TG-001",
            severity=Severity.PASSED,
            what=f"none of {len(told)} columns, names and orders tells the endpoint of {patients} "
            f"patients; nearest '{nearest[0].name}' (p {nearest[0].p:.2g}, before correction)",
            evidence={own.name: {"auroc": own.auroc, "p": own.p} for own in nearest[:_SHOWN]},
        )


def _asked(table: pd.DataFrame, y: FloatArray) -> Iterator[_Asked]:
    for name in table.columns:
        values = table[name]
        known = values.notna().to_numpy()
        if 0 < known.sum() < len(known):
            empty = pd.Series(np.where(known, "given", "empty"))
            yield _Asked(f"empty: {name}", separation(empty, y), y, _by_levels(empty))
        if values[known].nunique() < 2 or len(np.unique(y[known])) < 2:
            continue
        own = values[known].reset_index(drop=True)
        if pd.api.types.is_bool_dtype(own) or not pd.api.types.is_numeric_dtype(own):
            own = own.astype(str)
            p_of = _by_levels(own)
        else:
            p_of = partial(Permutations.of_numbers, values=own.to_numpy(dtype=float))
        yield _Asked(str(name), separation(own, y[known]), y[known], p_of)
    for name in _ORDERS:
        if name in table:
            # as blocks of one class, which need not stand at the ends
            order = np.argsort(table[name].to_numpy(dtype=float), kind="stable")
            p_of = partial(Permutations.of_order, order=order)
            yield _Asked(f"blocks in {name}", 0.5, y, p_of)


def _by_levels(values: pd.Series[Any]) -> Callable[[Permutations], float]:
    return partial(Permutations.of_levels, values=values.to_numpy())


def _columns(store: CohortStore, bags: Bags, rows: Any, endpoint: str) -> pd.DataFrame:
    """(n) what the tables say of each bag."""
    parts = {}
    owner = bags.table["patient"].to_numpy()[rows]
    patients, samples = with_days(store.patients), with_days(store.samples)
    for column in patients.columns:
        if str(column) not in (endpoint, *DESIGN_COLUMNS):
            parts[str(column)] = patients[column].iloc[owner].to_numpy()
    own = [samples_of(store, bags, int(n)) for n in rows]
    for column in samples.columns:
        if str(column) in (endpoint, *DESIGN_COLUMNS, *_STRUCTURE, *parts):
            continue
        values = samples[column]
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            parts[str(column)] = np.array([values.iloc[s].astype(float).mean() for s in own])
        else:
            parts[str(column)] = np.array(
                [" | ".join(sorted(set(values.iloc[s].dropna().astype(str)))) or None for s in own],
                dtype=object,
            )
    return pd.DataFrame(parts, index=range(len(rows)))


def _names(store: CohortStore, bags: Bags, rows: Any, ids: dict[str, str]) -> pd.DataFrame:
    """(n) parts of the ids of patients and first samples, and the order that cells came in."""
    source = store.cells["source"].to_numpy() if "source" in store.cells else None
    owner = bags.table["patient"].to_numpy()[rows]
    sample = [samples_of(store, bags, int(n))[0] for n in rows]
    orders = pd.DataFrame({"order of the ids": owner.astype(float)})
    if source is not None:
        orders["order in the files"] = [float(source[bags.cells([int(n)])].mean()) for n in rows]
    named = []
    for of, names in (
        ("patient", [str(store.patients.index[code]) for code in owner]),
        ("sample", [str(store.samples.index[code]) for code in sample]),
    ):
        if all(name in ids for name in names):
            named.append(name_patterns([ids[name] for name in names], of))
    return pd.concat([orders, *named], axis=1)
