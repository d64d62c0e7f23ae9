"""What trackers are given of an evaluation: numbers of each model and curves, no patient's row."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from recart.config.build import build_each
from recart.evaluation.assessment import Assessed, Assessment
from recart.evaluation.launch import Evaluated
from recart.problems import InputError
from recart.training.progress import say
from recart.training.run_directory import RunDirectory
from recart.training.trackers import Table, record, tracked

__all__ = ["evaluation_tables", "track_evaluation"]

# Curves are read off at these shares, so that no point is one patient.
_GRID = np.linspace(0.0, 1.0, 21)
_WORDS = frozenset(
    {
        *("recart", "composition", "cluster_means", "pseudobulk", "quality_only", "batch_only"),
        *("clinical_only", "cell_types_given"),
        *("composition_and_clinical", "cell_types_given_and_clinical"),
    }
)


def track_evaluation(evaluated: Evaluated, run: RunDirectory) -> None:
    """Give an evaluation's tables and curves to the trackers that the run was trained with."""
    try:
        trackers = build_each(run.config.logger)
    except InputError as error:  # of a run that an older recart has made
        say(f"the evaluation is not tracked: {error.problems[0]}")
        return
    about = tracked(run.logs, run.config, {}, say)
    record(trackers, about, evaluation_tables(evaluated.assessment), _WORDS)


def evaluation_tables(assessment: Assessment) -> dict[str, Table]:
    """`metrics`, a row a model, and `curve_roc` and `curve_decision`, a point a row.

    There is no ROC curve where the AUROC is refused.
    """
    models = [assessment.model, *assessment.baselines]
    tables: dict[str, Table] = {"metrics": [_row(own) for own in models]}
    ranked = [own for own in models if own.metrics.auroc is not None]
    if ranked:
        curves = {_word(own): _sensitivity(own) for own in ranked}
        tables["curve_roc"] = [
            {"false_positive_rate": float(x), **{k: float(y[i]) for k, y in curves.items()}}
            for i, x in enumerate(_GRID)
        ]
    decision = assessment.model.decision_curve
    names = ("threshold", "net_benefit", "low", "high", "treat_all")
    rows = zip(*(getattr(decision, name) for name in names), strict=True)
    tables["curve_decision"] = [dict(zip(names, map(float, row), strict=True)) for row in rows]
    return tables


def _row(own: Assessed) -> dict[str, Any]:
    found = dataclasses.asdict(own.metrics)
    numbers = {k: float(v) for k, v in found.items() if isinstance(v, int | float)}
    if own.auroc_interval is not None:
        numbers |= {"auroc_low": own.auroc_interval.low, "auroc_high": own.auroc_interval.high}
    if own.calibration.slope is not None:
        numbers["calibration_slope"] = own.calibration.slope
    return {"model": _word(own), **numbers}


def _sensitivity(own: Assessed) -> np.ndarray[Any, Any]:
    false, true, _ = roc_curve(own.scores.y, own.scores.score)
    found: np.ndarray[Any, Any] = np.interp(_GRID, false, true)
    return found


def _word(own: Assessed) -> str:
    return own.name.replace(" + ", " and ").replace(" ", "_")
