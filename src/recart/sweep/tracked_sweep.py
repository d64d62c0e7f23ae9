"""What trackers are given of a sweep: its trainings as they run, its trials, and its settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, final

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from recart.config.build import TARGET
from recart.sweep.configurations import OF_ENCODER
from recart.sweep.runs import RUNS
from recart.sweep.search import Trial
from recart.sweep.tables import TRIALS
from recart.sweep.trial_job import Unit
from recart.training.epoch_reports import EpochWatcher
from recart.training.progress import say
from recart.training.redactor import redact, redact_parts, redact_rows
from recart.training.run_directory import write_atomically
from recart.training.trackers import (
    Configuration,
    Table,
    Tracker,
    compare,
    in_group,
    record,
    tracked,
    tracking,
)

__all__ = ["TrackedSweep", "configurations", "job_places", "sweep_settings", "sweep_tables"]

_STATES: Final = ("complete", "pruned", "failed")
_SCORES: Final = ("inner_loss", "encoder_loss")
_SENT: Final = "sweep.json"


@final
class TrackedSweep:
    """The trackers of a sweep: they follow its trainings, and are given its trials once.

    Parameters
    ----------
    trackers
        By name.
    folder, config
        The sweep's; the configuration passes the redactor here.
    """

    def __init__(self, trackers: Mapping[str, Tracker], folder: Path, config: DictConfig) -> None:
        self._trackers, self._folder = trackers, folder
        own = tracked(folder / "logs", config, {}, say)
        self._run = replace(own, settings=sweep_settings(config))

    @property
    def places(self) -> dict[str, Mapping[str, Any]]:
        """Of each job what trackers are told of it; filled before the job begins."""
        return self._run.jobs

    def follow(self) -> AbstractContextManager[list[EpochWatcher]]:
        """Watchers of all trainings of the sweep."""
        return tracking(self._trackers, self._run)

    def finish(self) -> None:
        """Give the trials to the trackers, unless these trials were given before.

        What is tracked of the runs that the sweep ends in belongs to the sweep's group.
        """
        for run in RUNS:
            if (self._folder / run).exists():
                in_group(self._folder / run / "logs", self._run.group, run)
        content = (self._folder / TRIALS).read_bytes()
        sent = self._run.folder / _SENT
        digest = hashlib.sha256(content).hexdigest()
        if sent.exists() and json.loads(sent.read_text())["trials"] == digest:
            return
        table = pd.read_csv(self._folder / TRIALS)
        words = {*_STATES, *map(str, table["fold"])}
        record(self._trackers, replace(self._run, kind="sweep"), sweep_tables(table), words)
        compare(self._trackers, self._run, configurations(table))
        # after it: what is killed on the way is given again
        write_atomically(sent, json.dumps({"trials": digest}).encode())


def sweep_settings(config: DictConfig) -> dict[str, Any]:
    """A sweep's configuration as trackers may see it: sampler, pruner, budget, and the space."""
    settings = redact(config)
    space = OmegaConf.to_container(config.sweep.space, resolve=True)
    settings["sweep"]["space"] = redact_parts(_flat(space, ""))
    return settings


def job_places(units: Sequence[tuple[Trial, Unit]]) -> dict[str, Any]:
    """Of the encoders of a job their folds, the trials that share them, and the encoders' values.

    A list of each where they are several.
    """
    found: dict[str, list[Any]] = {}
    for trial, unit in units:
        values = {
            key.replace(".", "/"): value
            for key, value in trial.values.items()
            if key.split(".")[0] in OF_ENCODER
        }
        member = unit.member
        row: dict[str, Any] = {"fold": member.fold, "repeat": member.repeat, "seed": member.seed}
        row |= {"trials": [fit.trial for fit in unit.fits], **redact_rows([values], ())[0]}
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {name: own[0] if len(units) == 1 else own for name, own in found.items()}


def sweep_tables(table: pd.DataFrame) -> dict[str, Table]:
    """`trials`, a row a trial of a fold, and `curve_trials`, a row a trial of all folds."""
    searched = [name for name in table.columns if "." in name]
    shown = table[["fold", "trial", "state", *_SCORES, *searched]]
    shown = shown.rename(columns={name: name.replace(".", "/") for name in searched})
    complete = table[table["state"] == "complete"]
    means = complete.groupby("trial")[list(_SCORES)].mean().reset_index()
    return {"trials": _rows(shown), "curve_trials": _rows(means)}


def configurations(table: pd.DataFrame) -> list[Configuration]:
    """Each configuration that was tried, with its scores: means over the folds that tried it."""
    searched = [name for name in table.columns if "." in name]
    complete = table[table["state"] == "complete"]
    found = []
    for _, own in complete.groupby(searched, sort=False, dropna=False):
        values = {name.replace(".", "/"): own[name].iloc[0] for name in searched}
        scores = {name: float(own[name].mean()) for name in _SCORES}
        chosen = float(own["chosen"].sum())
        found.append(
            Configuration(
                values=_rows(pd.DataFrame([values]))[0],
                scores={**scores, "folds": float(len(own)), "folds_that_chose_it": chosen},
            )
        )
    return found


def _flat(tree: Any, place: str) -> dict[str, Any]:
    """Distributions, plain, by key with strokes."""
    found: dict[str, Any] = {}
    for key, own in tree.items():
        path = f"{place}/{key}" if place else str(key)
        if isinstance(own, dict) and TARGET not in own:
            found |= _flat(own, path)
        elif own is not None:
            found[path] = own
    return found


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows without what is not there."""
    return [
        {str(name): value for name, value in row.items() if not pd.isna(value)}
        for row in table.to_dict(orient="records")
    ]
