"""The flow of a cohort: from the files to the evaluated bags, with each exclusion and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from recart.data.bags import AFTER, NOT_SELECTED, OF_UNKNOWN_DAY, WITHOUT_A_SAMPLE
from recart.data.outcome import reason_of_part
from recart.evaluation.outcomes import CENSORED
from recart.report.question import FlowStep, LeftOut
from recart.training.cohort_setup import PreparedCohort

__all__ = ["admission_in_words", "cohort_flow", "features_left_out", "flow_step"]

# what the readers and checks leave out, as the store counts it; all else is features and chains
_PATIENTS = ("patients without a usable sample",)
_SAMPLES = ("samples without cells", "failed libraries")
# what keeps bags from being there at all, before any outcome
_ADMISSION = (
    "samples",
    AFTER,
    OF_UNKNOWN_DAY,
    NOT_SELECTED,
    WITHOUT_A_SAMPLE,
)
_CELLS = ("cells of failed libraries", "cells without RNA counts")


def cohort_flow(cohort: PreparedCohort, data: Any) -> tuple[FlowStep, ...]:
    """Steps from the files to the bags with a label, each with what was left out after it.

    Parameters
    ----------
    cohort
        Store and bags.
    data
        The part `data` of the run's configuration.
    """
    store, bags = cohort.store, cohort.bags
    labels = bags.table["label"].to_numpy()
    passed = FlowStep(
        name="passed the checks",
        patients=len(store.patients),
        samples=len(store.samples),
        cells=len(store.cells),
    )
    read = FlowStep(
        name="in the files",
        patients=len(store.patients) + _sum(store.dropped, _PATIENTS),
        samples=len(store.samples) + _sum(store.dropped, _SAMPLES),
        cells=len(store.cells) + _sum(store.dropped, _CELLS),
        left_out=_by_the_checks(store.dropped, data),
    )
    admitted = flow_step("at the decision time", cohort, np.arange(len(bags)))
    evaluated = flow_step("with a label: evaluated", cohort, np.flatnonzero(labels >= 0))
    late = _not_admitted(data, bags.flow)
    if bags.outcome is not None:
        reasons = _by_reason(bags.flow, data.unit, getattr(bags.outcome, "parts", ()))
        steps = (replace(passed, left_out=_difference(passed, admitted, late)),)
        if any(one.reason.startswith(CENSORED) for one in reasons):
            evaluated = replace(evaluated, name="known as yes or no: evaluated")
        return (read, *steps, replace(admitted, left_out=reasons), evaluated)
    rules = _rules(bags.flow)
    why = list(rules) if len(rules) == 1 else [f"{rule} ({n})" for rule, n in rules.items()]
    return (
        read,
        replace(passed, left_out=_difference(passed, admitted, late)),
        replace(admitted, left_out=_difference(admitted, evaluated, "; ".join(why))),
        evaluated,
    )


def _not_admitted(data: Any, flow: Mapping[str, int]) -> str:
    undated = flow.get(OF_UNKNOWN_DAY, 0)
    return f"not {admission_in_words(data)}" + (f" ({undated} {OF_UNKNOWN_DAY})" if undated else "")


def _by_reason(flow: Mapping[str, int], unit: str, parts: Iterable[str]) -> tuple[LeftOut, ...]:
    """Bags that an outcome leaves out of training or of yes and no, each by its rule.

    Whom further parts leave out is told beside their measures.
    """
    elsewhere = tuple(reason_of_part(part, "") for part in parts)
    return tuple(
        LeftOut(reason=why, patients=n) if unit == "patient" else LeftOut(reason=why, samples=n)
        for why, n in _rules(flow).items()
        if not why.startswith(elsewhere)
    )


def _rules(flow: Mapping[str, int]) -> dict[str, int]:
    """Of a flow of bags, how many have no label by which rule."""
    return {why: n for why, n in flow.items() if n and why not in _ADMISSION}


def features_left_out(dropped: Mapping[str, int]) -> dict[str, int]:
    """Genes, proteins and receptor chains that were set aside, by reason."""
    elsewhere = {*_PATIENTS, *_SAMPLES, *_CELLS}
    return {reason: n for reason, n in dropped.items() if n and reason not in elsewhere}


def admission_in_words(data: Any) -> str:
    """Which samples may enter a prediction."""
    parts = []
    if data.decision_day is not None:
        parts.append(f"sampled up to day {data.decision_day:g} from infusion")
    for name, values in (("time point", data.timepoints), ("tissue", data.tissues)):
        if values:
            parts.append(f"of {name} {' or '.join(map(str, values))}")
    return ", ".join(parts) or "any sample"


def _by_the_checks(dropped: Mapping[str, int], data: Any) -> tuple[LeftOut, ...]:
    limits = data.limits
    poor = "failed libraries"
    if limits is not None:
        poor += (
            f": median below {limits.min_median_umi:g} RNA counts a cell, or fewer than "
            f"{limits.min_cells} cells"
        )
    found = (
        LeftOut(reason="samples without cells", samples=dropped.get("samples without cells", 0)),
        LeftOut(
            reason=poor,
            samples=dropped.get("failed libraries", 0),
            cells=dropped.get("cells of failed libraries", 0),
        ),
        LeftOut(
            reason="cells without RNA counts", cells=dropped.get("cells without RNA counts", 0)
        ),
        LeftOut(
            reason="patients without a usable sample",
            patients=dropped.get("patients without a usable sample", 0),
        ),
    )
    return tuple(one for one in found if one.patients or one.samples or one.cells)


def flow_step(name: str, cohort: PreparedCohort, rows: np.ndarray) -> FlowStep:
    """Patients, samples and cells of some bags."""
    cells = cohort.bags.cells(rows)
    samples = np.unique(cohort.store.cells["sample"].to_numpy()[cells])
    patients = np.unique(cohort.bags.table["patient"].to_numpy()[rows])
    return FlowStep(name=name, patients=len(patients), samples=len(samples), cells=len(cells))


def _difference(before: FlowStep, after: FlowStep, reason: str) -> tuple[LeftOut, ...]:
    less = {
        part: getattr(before, part) - getattr(after, part)
        for part in ("patients", "samples", "cells")
    }
    return (LeftOut(reason=reason, **less),) if any(less.values()) else ()


def _sum(dropped: Mapping[str, int], reasons: tuple[str, ...]) -> int:
    return sum(dropped.get(reason, 0) for reason in reasons)
