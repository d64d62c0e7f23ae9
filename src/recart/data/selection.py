"""Whether the time points and tissues that a configuration names are those of the samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from recart.data.bags import Admission, admitted_samples
from recart.data.checks.spelling import nearest
from recart.data.stages import sample_days, sample_words, stages_by_day
from recart.data.store import CohortStore
from recart.problems import Problem, Problems

__all__ = ["check_selection", "without_order"]


def check_selection(store: CohortStore, admission: Admission, stages: Sequence[str]) -> None:
    """Refuse a selection by what no sample has, and an order that lacks what samples have.

    A misspelt time point would select nothing. One that `stages` lack would count as the last, and
    might turn every change over time around.

    Raises
    ------
    InputError
        With each of them; or where samples lack a column that is selected by.
    """
    problems = Problems()
    for problem in (
        *_of_nobody(store, "timepoint", admission.timepoints),
        *_of_nobody(store, "tissue", admission.tissues),
        *(_without_a_stage(store, admission, list(stages)) if stages else ()),
    ):
        problems.error(problem)
    problems.raise_if_any()


def without_order(store: CohortStore, admission: Admission, stages: Sequence[str]) -> str:
    """In words, why no samples of a patient are compared over time; empty where some are."""
    samples = store.samples[admitted_samples(store, admission)]
    words, day = sample_words(samples, "timepoint"), sample_days(samples)
    known = pd.DataFrame({"word": words, "day": day, "patient": samples["patient"].to_numpy()})
    several = known[known["word"] != ""].groupby("patient")["word"].nunique() > 1
    if several.any():
        undated = known["day"].isna().groupby(known["word"]).all()
        if stages or len(set(stages_by_day(samples).values())) > 1:
            return ""
        lacking = ", ".join(map(str, undated.index[undated & (undated.index != "")]))
        return (
            f"samples of {several.sum()} patients lie at several time points, and nothing is "
            f"compared over time: {lacking or 'all'} {'have no day' if lacking else 'lie on one'}; "
            "give days, or the order by data.stages=[...]"
        )
    dated = known.groupby("patient")["day"].nunique() > 1
    if not dated.any() or (words != "").any():
        return ""
    return (
        f"samples of {dated.sum()} patients have several days and no time point, and nothing is "
        "compared over time: name their time points by data.columns.timepoint=<column>"
    )


def _of_nobody(store: CohortStore, column: str, names: Sequence[str]) -> Iterator[Problem]:
    there = [word for word in dict.fromkeys(sample_words(store.samples, column)) if word]
    for name in map(str, names) if there else ():
        if name not in there:
            near = nearest(name, there)
            yield Problem(
                code="E-TIME-003",
                column=f"data.{column}s",
                feature=name,
                what=f"no sample has this {column}; they have {', '.join(there[:20])}",
                mend=f"nearest: {', '.join(near)}" if near else f"take it out of data.{column}s",
            )


def _without_a_stage(
    store: CohortStore, admission: Admission, stages: list[str]
) -> Iterator[Problem]:
    words = sample_words(store.samples, "timepoint")[admitted_samples(store, admission)]
    names, counts = np.unique(words[words != ""].astype(str), return_counts=True)
    idle = [stage for stage in stages if stage not in names]
    for name, count in zip(names.tolist(), counts.tolist(), strict=True):
        if name not in stages:
            near = nearest(name, idle)
            yield Problem(
                code="E-TIME-004",
                column="data.stages",
                feature=name,
                count=count,
                what="samples of this time point have no place in the order "
                f"{', '.join(stages)}, and would count as the last",
                mend=f"correct {near[0]}, which no such sample has"
                if near
                else "put it in its place, or select others with data.timepoints",
            )
