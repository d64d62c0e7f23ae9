"""Levels and times, measured on held-out bags: model and baselines, with patient bootstraps."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from recart.data.outcome import left_out_of
from recart.data.split import Kind
from recart.evaluation.intervals import LEVEL, Interval
from recart.evaluation.metrics import ALONE
from recart.evaluation.outcomes.ordinal import ordinal_draws
from recart.evaluation.outcomes.survival import LACKING, installed, survival_measures
from recart.evaluation.patient_codes import patient_codes
from recart.evaluation.predictions import FloatArray, fold_scores
from recart.training.endpoints import Endpoint, OrdinalEndpoint, SeveralEndpoints, SurvivalEndpoint

__all__ = ["Measured", "OutcomeAssessment", "assess_outcome", "outcomes_of"]

# scikit-survival takes a millisecond a resample and measure
_RESAMPLES = {"ordinal": 2000, "survival": 300}
# the one measure of the whole endpoint: what is said first of it
_MEASURE = {"survival": "C-index (IPCW)", "ordinal": "concordance"}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Measures of one model by name, and their percentile intervals over patient resamples."""

    name: str
    values: Mapping[str, float]
    intervals: Mapping[str, Interval]


@dataclass(frozen=True, kw_only=True)
class OutcomeAssessment:
    """What was measured of one endpoint.

    Attributes
    ----------
    name, kind
        Column of the endpoint, and `ordinal` or `survival`.
    levels, months
        Of an ordinal endpoint its levels, of survival the months; the other is empty.
    model, baselines
        The measures; baselines with the same solver, in the same folds.
    table
        (n) index: bag. `patient`, the targets (`level`, or `time` and `event`), `score` (what ranks
        over folds) and the mean held-out outputs.
    refusal
        Why nothing was measured; empty where it was.
    left_out
        Of one that does not lead, how many bags have no value of it, by reason.
    leads
        Whether it is the run's endpoint, or the first of several: folds, baselines and claim are of
        it.
    """

    name: str
    kind: str
    levels: tuple[str, ...]
    months: tuple[float, ...]
    model: Measured
    baselines: tuple[Measured, ...]
    table: pd.DataFrame
    refusal: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    leads: bool = True

    @property
    def measure(self) -> str:
        """Name of the measure of the whole endpoint; 0.5 is chance."""
        return _MEASURE[self.kind]

    @property
    def value(self) -> float:
        """What the model reaches in it; NaN where it was not measured."""
        return self.model.values.get(self.measure, math.nan)

    @property
    def rival(self) -> Measured | None:
        """The baseline that reaches most in it."""
        told = [
            own for own in self.baselines if math.isfinite(own.values.get(self.measure, math.nan))
        ]
        return max(told, key=lambda own: own.values[self.measure], default=None)

    @property
    def words(self) -> str:
        """How many bags, of what kind, and why others are not."""
        left_out = "".join(f"; {why}: {n}" for why, n in self.left_out.items())
        return self._evaluated + left_out

    @property
    def _evaluated(self) -> str:
        n = len(self.table)
        if self.kind == "survival":
            return f"{n} evaluated, {int(self.table['event'].sum())} with an event, others censored"
        count = self.table["level"].value_counts()
        # a level may be a number itself
        shares = ", ".join(f"{name} ({count.get(i, 0)})" for i, name in enumerate(self.levels))
        return f"{n} evaluated: {shares}"


def outcomes_of(
    predictions: pd.DataFrame,
    baselines: Mapping[str, pd.DataFrame],
    endpoint: Endpoint,
    *,
    seed: int,
    kind: Kind,
    flow: Mapping[str, int] | None = None,
) -> tuple[OutcomeAssessment, ...]:
    """Measures of the endpoint, or of each of several that somebody has a value of.

    None where it is yes or no alone. `flow` is that of the bags, which says whom parts leave out.
    """
    several = endpoint.parts if isinstance(endpoint, SeveralEndpoints) else {"": endpoint}
    found = []
    for number, (name, own) in enumerate(several.items()):
        if number == 0 and own.kind == "binary":
            continue  # the whole page is about it
        part, rivals = (name, {}) if number else ("", baselines)
        target = "time" if own.kind == "survival" else "level"
        if predictions[f"target:{target}{':' if part else ''}{part}"].isna().all():
            continue
        measured = assess_outcome(predictions, rivals, own, part=part, seed=seed, kind=kind)
        left_out = left_out_of(part, flow or {}) if part else {}
        found.append(replace(measured, left_out=left_out))
    return tuple(found)


def assess_outcome(
    predictions: pd.DataFrame,
    baselines: Mapping[str, pd.DataFrame],
    endpoint: Endpoint,
    *,
    part: str = "",
    seed: int,
    kind: Kind,
) -> OutcomeAssessment:
    """Measure one endpoint that is not yes or no.

    Parameters
    ----------
    predictions, baselines
        Held-out predictions with the targets (`target:` columns) and, of the model, outputs.
    endpoint
        The ordinal or survival endpoint.
    part
        Its name among several endpoints where it does not lead; "" for the leading one.
    seed
        Of the resamples, which model and baselines share.
    kind
        What the folds are to each other.
    """
    months = tuple(endpoint.months) if isinstance(endpoint, SurvivalEndpoint) else ()
    named = endpoint.levels if isinstance(endpoint, OrdinalEndpoint) else endpoint.classes[::-1]
    levels = () if months else tuple(map(str, named))
    shown = [f"level:{level}" for level in levels] + [f"survival:{m:g}" for m in months]
    targets = ["level"] if levels else ["time", "event"]
    table = _by_bag(predictions, targets, shown, part, kind)
    rows = {
        name: _by_bag(own, targets, [], "", kind).loc[table.index]
        for name, own in baselines.items()
    }
    refusal = _refusal(predictions, months, kind)
    weights = _weights(table, seed, _RESAMPLES["survival" if months else "ordinal"])

    def measured(name: str, own: pd.DataFrame) -> Measured:
        if refusal:
            return Measured(name=name, values={}, intervals={})
        draws = _ordinal(own, levels, weights) if levels else _survival(own, months, weights)
        return Measured(
            name=name,
            values={key: float(value[0]) for key, value in draws.items()},
            intervals={key: _interval(value[1:]) for key, value in draws.items()},
        )

    return OutcomeAssessment(
        name=f"{endpoint.columns[0]}",
        kind="survival" if months else "ordinal",
        levels=levels,
        months=months,
        model=measured("recart", table),
        baselines=tuple(measured(name, own) for name, own in rows.items()),
        table=table,
        refusal=refusal,
        leads=not part,
    )


def _refusal(predictions: pd.DataFrame, months: Sequence[float], kind: Kind) -> str:
    in_fold = predictions.groupby(["repeat", "fold"])["patient"].nunique()
    if kind is Kind.GROUPS and (in_fold == 1).all():
        return ALONE
    return LACKING if months and not installed() else ""


def _by_bag(
    predictions: pd.DataFrame, targets: Sequence[str], shown: Sequence[str], part: str, kind: Kind
) -> pd.DataFrame:
    """One row a bag: targets, score over folds, mean outputs; of a part by its suffix."""
    suffix = f":{part}" if part else ""
    given = {f"target:{name}{suffix}": name for name in targets}
    given |= {f"{name}{suffix}": name for name in shown if f"{name}{suffix}" in predictions}
    frame = predictions.rename(columns={**given, f"log_odds{suffix}" if part else "": "logit"})
    if part:
        frame = frame.loc[:, ~frame.columns.duplicated(keep="last")]
    frame = frame[frame[list(targets)].notna().all(axis=1)]
    by_fold = frame.groupby(["repeat", "fold", "bag"], sort=True)["logit"].mean().reset_index()
    by_fold["score"] = fold_scores(by_fold, kind)
    table = frame.groupby("bag")[["patient", *targets]].first()
    table["score"] = by_fold.groupby("bag")["score"].mean()
    outputs = [name for name in shown if name in frame]
    return table.join(frame.groupby("bag")[outputs].mean())


def _weights(table: pd.DataFrame, seed: int, count: int) -> FloatArray:
    """(1 + count, n) everybody once, then patients drawn again with all their bags."""
    codes = patient_codes(table["patient"], table["score"].to_numpy(dtype=float))
    n = codes.max() + 1
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=count)
    drawn: FloatArray = np.vstack([np.ones(len(table)), counts[:, codes].astype(float)])
    return drawn


def _ordinal(
    table: pd.DataFrame, levels: Sequence[str], weights: FloatArray
) -> dict[str, FloatArray]:
    names = [f"level:{level}" for level in levels]
    told = table[names].to_numpy(dtype=float) if set(names) <= set(table) else None
    level, score = (table[name].to_numpy(dtype=float) for name in ("level", "score"))
    return ordinal_draws(level, score, weights, levels, told)


def _survival(
    table: pd.DataFrame, months: Sequence[float], weights: FloatArray
) -> dict[str, FloatArray]:
    names = [f"survival:{month:g}" for month in months]
    told = table[names].to_numpy(dtype=float) if set(names) <= set(table) else None
    time, event, score = (table[name].to_numpy(dtype=float) for name in ("time", "event", "score"))
    found = []
    for own in weights.astype(int):
        rows = np.repeat(np.arange(len(table)), own)
        found.append(
            survival_measures(
                time[rows], event[rows], score[rows], months, None if told is None else told[rows]
            )
        )
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def _interval(draws: FloatArray) -> Interval:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no draw at all: NaN
        low, high = np.nanquantile(draws, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return Interval(
        low=float(low), high=float(high), level=LEVEL, method="patient bootstrap, percentile"
    )
