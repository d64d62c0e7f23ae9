"""What trackers are given of a sweep: its trials as a table, their means over folds as a curve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from recart.sweep.tables import TRIALS
from recart.training.trackers import Table, Tracked, Tracker, record

__all__ = ["sweep_tables", "track_sweep"]

_STATES: Final = ("complete", "pruned", "failed")
_SCORES: Final = ("inner_loss", "encoder_loss")


def track_sweep(trackers: Mapping[str, Tracker], run: Tracked, folder: Path) -> None:
    """Give the trials of a sweep to the trackers; words but states and folds stay here."""
    table = pd.read_csv(folder / TRIALS)
    words = {*_STATES, *map(str, table["fold"])}
    record(trackers, run, sweep_tables(table), words)


def sweep_tables(table: pd.DataFrame) -> dict[str, Table]:
    """`trials`, a row a trial of a fold, and `curve_trials`, a row a trial of all folds."""
    searched = [name for name in table.columns if "." in name]
    shown = table[["fold", "trial", "state", *_SCORES, *searched]]
    shown = shown.rename(columns={name: name.replace(".", "/") for name in searched})
    complete = table[table["state"] == "complete"]
    means = complete.groupby("trial")[list(_SCORES)].mean().reset_index()
    return {"trials": _rows(shown), "curve_trials": _rows(means)}


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows without what is not there."""
    return [
        {str(name): value for name, value in row.items() if not pd.isna(value)}
        for row in table.to_dict(orient="records")
    ]
