"""What the runs of a sweep are worth on held-out patients, once `evaluate.py` has said it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from recart.problems import InputError, Problem
from recart.sweep.runs import RUNS
from recart.sweep.tables import SUMMARY

__all__ = ["OuterScore", "check_not_seen", "outer_scores"]

_NAMES: Final = {"chosen": "chosen by the sweep", "default": "configuration as it stands"}


@dataclass(frozen=True, kw_only=True)
class OuterScore:
    """A row of the table: AUROC with its interval, balanced accuracy and Brier score."""

    name: str
    model: bool
    auroc: float | None
    low: float | None
    high: float | None
    balanced_accuracy: float | None
    brier: float | None


def check_not_seen(folder: Path, budget: int) -> None:
    """Refuse to search on where the outer score is known.

    Raises
    ------
    InputError
        If a run of the sweep was evaluated, and the budget is no longer what it was.
    """
    path = folder / SUMMARY
    before = json.loads(path.read_text(encoding="utf-8"))["budget"] if path.exists() else budget
    if before != budget and any((folder / run / "metrics.json").exists() for run in RUNS):
        problem = Problem(
            code="E-SWEEP-013",
            column="sweep.budget",
            what=f"held-out patients have judged what {before} configurations led to; a search "
            f"with {budget} would be chosen by that",
            mend=f"keep sweep.budget={before}, or begin another sweep on other folds",
        )
        raise InputError([problem])


def outer_scores(folder: Path) -> list[OuterScore]:
    """The chosen configurations, the one as it stands, and the baselines, which both runs share."""
    rows: list[OuterScore] = []
    baselines: list[OuterScore] = []
    for run in RUNS:
        path = folder / run / "metrics.json"
        if path.exists():
            content = json.loads(path.read_text(encoding="utf-8"))
            rows.append(_row(_NAMES[run], content["model"], model=True))
            baselines = [_row(own["name"], own, model=False) for own in content["baselines"]]
    return [*rows, *baselines]


def _row(name: str, content: Mapping[str, Any], *, model: bool) -> OuterScore:
    metrics = content["metrics"]
    interval = content.get("auroc_interval") or {}
    return OuterScore(
        name=name,
        model=model,
        auroc=None if metrics.get("refusal") else metrics.get("auroc"),
        low=interval.get("low"),
        high=interval.get("high"),
        balanced_accuracy=metrics.get("balanced_accuracy"),
        brier=metrics.get("brier"),
    )
