"""What the runs of a sweep are worth on held-out patients, once `evaluate.py` has said it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from recart.sweep.runs import RUNS

__all__ = ["OuterScore", "evaluated", "outer_scores"]

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


def evaluated(folder: Path) -> bool:
    """Whether any run of the sweep was evaluated."""
    return any((folder / run / "metrics.json").exists() for run in RUNS)


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
