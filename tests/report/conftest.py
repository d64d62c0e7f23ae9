"""An assessment and a report to draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from recart.data.split import Kind
from recart.evaluation.assessment import Assessment, assess
from recart.evaluation.design import PARTITION, FoldDesign
from recart.evaluation.intervals import Interval
from recart.evaluation.outcomes import Measured, OutcomeAssessment
from recart.evaluation.outside import Place
from recart.evaluation.subgroups import Subgroup
from recart.report.content import ReportContent
from recart.report.question import FlowStep, LeftOut, Question

PLACE = Place(column="site", values=("Leiden",))


def _predictions(n: int, effect: float, seed: int, per_patient: int, repeat: int) -> pd.DataFrame:
    k = 5
    rng = np.random.default_rng([seed, repeat] if repeat else seed)
    patient = np.repeat(np.arange(n), per_patient)
    y = (patient % 2 == 0).astype(int)
    logits = effect * (y - 0.5) + rng.normal(size=len(y))
    return pd.DataFrame(
        {
            "bag": [f"B-{i:03d}" for i in range(len(y))],
            "patient": [f"P-{i:03d}" for i in patient],
            "repeat": repeat,
            "fold": (patient // 2) % k,
            "member": "m0",
            "y": y,
            "logit": logits,
            "probability": expit(logits),
        }
    )


@pytest.fixture
def make_assessment() -> Callable[..., Assessment]:
    """An assessment with baselines by effect; five folds, every fold with both classes."""

    def make(
        effect: float = 2.0,
        baselines: dict[str, float] | None = None,
        n: int = 40,
        per_patient: int = 1,
        leave_one_out: bool = False,
        repeats: int = 1,
        outside: bool = False,
        **settings: Any,
    ) -> Assessment:
        given = {"composition": 1.0, "batch only": 0.0} if baselines is None else baselines
        tables = [
            pd.concat([_predictions(n, value, seed, per_patient, r) for r in range(repeats)])
            for seed, value in enumerate([effect, *given.values()])
        ]
        if outside:
            for table in tables:
                table["fold"] = 0
        if leave_one_out:
            for table in tables:
                table["fold"] = table["patient"]
        return assess(
            tables[0],
            dict(zip(given, tables[1:], strict=True)),
            endpoint="response",
            seed=0,
            n_resamples=200,
            design=FoldDesign(kind=Kind.EXTERNAL, place=PLACE) if outside else PARTITION,
            **settings,
        )

    return make


@pytest.fixture
def make_content(make_assessment: Any) -> Callable[..., ReportContent]:
    """Content of a report; `unit` follows the assessment."""

    def make(
        cohort: str = "A cohort", parts: dict[str, Any] | None = None, **settings: Any
    ) -> ReportContent:
        unit = "sample" if settings.get("per_patient", 1) > 1 else "patient"
        return ReportContent(
            question=Question(
                endpoint="response",
                positive="CR",
                negative="no CR",
                unit=unit,
                decision="day 0",
                cohort=cohort,
            ),
            assessment=make_assessment(**settings),
            flow=(
                FlowStep(
                    name="Read",
                    patients=45,
                    samples=90,
                    cells=12_345,
                    left_out=(LeftOut(reason="no label", patients=5, samples=None, cells=1_345),),
                ),
                FlowStep(name="Evaluated", patients=40, samples=None, cells=11_000),
            ),
            left_out={"genes that some samples lack": 777},
            provenance={"Split": "sha256 abc, seed 0"},
            notes=("Batch B3 holds 3 patients.",),
            **(parts or {}),
        )

    return make


@pytest.fixture
def parts_of_patients() -> tuple[Subgroup, ...]:
    """One that was measured, one of too few, and a column of too many values."""
    interval = Interval(low=0.41, high=0.83, level=0.95, method="logit DeLong, SE x 1.6")
    few = "too few: fewer than 8 patients of a class"
    return (
        Subgroup(
            column="sex",
            value="f",
            negative=11,
            positive=12,
            auroc=0.64,
            interval=interval,
            observed=0.52,
            expected=0.57,
        ),
        Subgroup(column="sex", value="not given", negative=9, positive=7, refusal=few),
        Subgroup(
            column="a_column_whose_name_is_long",
            value="27 values",
            negative=20,
            positive=20,
            refusal="more than 12 values are no groups",
        ),
    )


@pytest.fixture
def outcomes() -> tuple[OutcomeAssessment, ...]:
    """Levels and times to an event of forty patients, with measures."""
    rng = np.random.default_rng(0)
    levels = ("a level of a rather long name", "PR", "CR")
    shares = rng.dirichlet([1, 1, 1], 40)
    table = pd.DataFrame(
        {
            "patient": [f"P-{n:03d}" for n in range(40)],
            "score": rng.normal(size=40),
            "level": np.arange(40) % 3,
            "time": rng.exponential(12.0, 40),
            "event": (np.arange(40) % 4 > 0).astype(float),
            **{f"level:{own}": share for own, share in zip(levels, shares.T, strict=True)},
        },
        index=[f"B-{n:03d}" for n in range(40)],
    )
    months = (6.0, 12.0, 24.0)

    def measured(name: str, measures: Sequence[str], value: float) -> Measured:
        interval = Interval(low=0.4, high=0.8, level=0.95, method="patient bootstrap, percentile")
        return Measured(
            name=name,
            values=dict.fromkeys(measures, value),
            intervals=dict.fromkeys(measures, interval),
        )

    asked = {
        "ordinal": ["concordance", *(f"AUROC >= {own}" for own in levels[1:])],
        "survival": ["C-index (IPCW)", *(f"AUC, month {own:g}" for own in months)],
    }
    return tuple(
        OutcomeAssessment(
            name=f"an_endpoint_of_a_long_name_{kind}",
            kind=kind,
            levels=levels if kind == "ordinal" else (),
            months=months if kind == "survival" else (),
            model=measured("recart", measures, 0.61),
            baselines=(measured("a baseline of a rather long name", measures, 0.62),),
            table=table,
        )
        for kind, measures in asked.items()
    )
