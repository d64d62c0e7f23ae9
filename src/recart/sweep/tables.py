"""The tables of a sweep: every trial of every fold, and what was chosen. No times: they repeat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from recart.sweep.front import front
from recart.sweep.scores import TrialScore, read_score
from recart.sweep.search import Search
from recart.sweep.space import Distribution
from recart.training.run_directory import write_atomically

__all__ = ["CHOICE", "SUMMARY", "TRIALS", "FoldTrials", "read_folds", "write_tables"]

TRIALS, CHOICE, SUMMARY = "trials.csv", "choice.csv", "sweep.json"


@dataclass(frozen=True, kw_only=True)
class FoldTrials:
    """One fold as the sweep's folder has it.

    Attributes
    ----------
    name
        Of the fold's member.
    values
        Those of each trial, by key.
    chosen
        Number of the trial.
    groups
        (n) patient, or block of patients, of each development bag, as numbers from 0.
    saying_nothing
        Log loss of always saying the share of responders among the development bags; None where
        the endpoint is more than yes or no.
    scores
        Of each trial.
    """

    name: str
    values: Sequence[Mapping[str, Any]]
    chosen: int
    groups: Sequence[int]
    saying_nothing: float | None
    scores: Sequence[TrialScore]


def write_tables(
    folder: Path,
    searches: Sequence[Search],
    space: Mapping[str, Distribution],
    about: Mapping[str, Any],
    development: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write all of them, whole or not at all; the same sweep gives the same bytes.

    Parameters
    ----------
    about
        What the summary says of the sweep; `objectives` among it.
    development
        Of each fold `groups` and `saying_nothing`, see `FoldTrials`.
    """
    table = _trial_table(searches, space, about["objectives"])
    write_atomically(folder / TRIALS, table.to_csv(index=False).encode())
    chosen = table[table["chosen"]].drop(columns=["chosen", "state"])
    write_atomically(folder / CHOICE, chosen.to_csv(index=False).encode())
    folds = {
        own.member.name: {
            "chosen": own.chosen,
            "values": [dict(trial.values) for trial in own.trials],
            **development[own.member.name],
        }
        for own in searches
    }
    text = json.dumps({**about, "folds": folds}, indent=1, allow_nan=False)
    write_atomically(folder / SUMMARY, text.encode())


def read_folds(folder: Path) -> tuple[dict[str, Any], list[FoldTrials]]:
    """What `write_tables` wrote: what is said of the sweep, and its folds."""
    summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    folds = []
    for name, own in summary["folds"].items():
        scores = [read_score(folder, name, number) for number in range(len(own["values"]))]
        there = [score for score in scores if score is not None]
        folds.append(FoldTrials(name=name, scores=there, **own))
    return summary, folds


def _trial_table(
    searches: Sequence[Search], space: Mapping[str, Distribution], objectives: Sequence[str]
) -> pd.DataFrame:
    """One row a trial of a fold: its state, scores and values; of several objectives the front."""
    rows = []
    for search in searches:
        scores = search.scores
        best = front(scores, objectives)
        for score in scores:
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
            if len(objectives) > 1:
                row["front"] = score.trial in best
            rows.append(row | {key: trial.values.get(key) for key in space})
    return pd.DataFrame(rows)
