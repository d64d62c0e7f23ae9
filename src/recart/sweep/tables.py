"""The tables of a sweep: every trial of every fold, and what was chosen. No times: they repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recart.sweep.search import Search
from recart.sweep.space import Distribution
from recart.training.run_directory import write_atomically

__all__ = ["CHOICE", "TRIALS", "trial_table", "write_tables"]

TRIALS, CHOICE = "trials.csv", "choice.csv"


def trial_table(searches: Sequence[Search], space: Mapping[str, Distribution]) -> pd.DataFrame:
    """One row a trial of a fold: its state, scores and values."""
    rows = []
    for search in searches:
        for score in search.scores:
            trial = search.trial(score.trial)
            row: dict[str, Any] = {
                "fold": search.member.name,
                "trial": score.trial,
                "state": score.state,
                "chosen": score.trial == search.chosen,
                "inner_loss": score.scores.get("inner_loss"),
                "encoder_loss": score.scores.get("encoder_loss"),
                "encoder": trial.encoder,
            }
            rows.append(row | {key: trial.values.get(key) for key in space})
    return pd.DataFrame(rows)


def write_tables(
    folder: Path, searches: Sequence[Search], space: Mapping[str, Distribution]
) -> None:
    """Write both, whole or not at all; the same sweep gives the same bytes."""
    table = trial_table(searches, space)
    write_atomically(folder / TRIALS, table.to_csv(index=False).encode())
    chosen = table[table["chosen"]].drop(columns=["chosen", "state"])
    write_atomically(folder / CHOICE, chosen.to_csv(index=False).encode())
