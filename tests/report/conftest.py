"""An assessment and a report to draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from recart.data.split import Kind
from recart.evaluation.assessment import Assessment, assess
from recart.evaluation.design import PARTITION, FoldDesign
from recart.evaluation.outside import Place
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
