"""Trackers get trials and scores, and no word but recart's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from recart.config.compose import compose
from recart.sweep.tracked_sweep import TrackedSweep, configurations, sweep_settings, sweep_tables
from recart.training.epoch_reports import EpochWatcher
from recart.training.redactor import HIDDEN
from recart.training.trackers import Configuration, Table, Tracked, Tracker, tracked
from recart.training.wandb_tracker import WandbTracker

TRIALS = pd.DataFrame(
    {
        "fold": ["r0f0", "r0f0", "r0f1"],
        "trial": [0, 1, 0],
        "state": ["complete", "pruned", "complete"],
        "chosen": [True, False, True],
        "inner_loss": [0.6, None, 0.5],
        "encoder_loss": [7.0, None, 9.0],
        "encoder": ["a", "b", "a"],
        "model.latent": [5, 10, 5],
        "head.kind": ["QQSECRET", "QQSECRET", "QQSECRET"],
    }
)


class Heard(Tracker):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.tables: list[dict[str, Table]] = []
        self.tried: list[Configuration] = []

    @contextmanager
    def follow(self, run: Tracked) -> Iterator[EpochWatcher]:
        raise AssertionError(run)
        yield

    def record(self, run: Tracked, tables: Mapping[str, Table]) -> None:
        assert run.kind == "sweep"
        self.tables.append(dict(tables))

    def compare(self, run: Tracked, tried: Sequence[Configuration]) -> None:  # noqa: ARG002
        self.tried = list(tried)


def test_trials_are_rows_and_their_means_a_curve() -> None:
    tables = sweep_tables(TRIALS)
    assert tables["curve_trials"] == [{"trial": 0, "inner_loss": 0.55, "encoder_loss": 8.0}]
    assert len(tables["trials"]) == 3
    assert "inner_loss" not in tables["trials"][1]


def test_trials_of_the_same_values_are_one_configuration() -> None:
    (own,) = configurations(TRIALS)  # the other did not come to its end
    assert own.values == {"model/latent": 5, "head/kind": "QQSECRET"}
    scores = {"inner_loss": 0.55, "encoder_loss": 8.0, "folds": 2.0, "folds_that_chose_it": 2.0}
    assert own.scores == scores


def finished(tracker: Tracker, folder: Path, trials: pd.DataFrame = TRIALS) -> None:
    trials.to_csv(folder / "trials.csv", index=False)
    TrackedSweep({"heard": tracker}, folder, compose(["sweep=default"])).finish()


def test_words_of_the_space_stay_here(tmp_path: Path) -> None:
    heard = Heard()
    finished(heard, tmp_path)
    (tables,) = heard.tables
    assert tables["trials"][0]["model/latent"] == 5
    assert tables["trials"][1]["state"] == "pruned"
    assert heard.tried[0].values == {"model/latent": 5, "head/kind": HIDDEN}
    assert "QQSECRET" not in f"{heard.tables} {heard.tried}"


def test_trials_are_given_once_and_again_where_they_are_others(tmp_path: Path) -> None:
    heard = Heard()
    for trials, times in ((TRIALS, 1), (TRIALS, 1), (TRIALS.head(2), 2)):
        finished(heard, tmp_path, trials)
        assert len(heard.tables) == times
    (tmp_path / "logs" / "sweep.json").unlink()  # killed before it was written
    finished(heard, tmp_path, TRIALS.head(2))
    assert len(heard.tables) == 3


def test_what_is_searched_stands_in_the_configuration() -> None:
    settings = sweep_settings(compose(["sweep=default", "sweep.budget=7", "sweep/sampler=tpe"]))
    own = settings["sweep"]
    assert own["sampler"]["_target_"] == "recart.sweep.samplers.Tpe"
    assert (own["budget"], own["objectives"]) == (7, ["inner_loss"])
    assert own["space"]["model/latent"]["options"] == [5, 10, 20]
    assert (own["space"]["head/shrinkage"]["low"], own["space"]["head/shrinkage"]["log"]) == (
        1,
        True,
    )
    words = "+sweep.space.QQKEY={_target_:recart.sweep.space.Choice,options:[QQWORD]}"
    text = str(sweep_settings(compose(["sweep=default", words])))
    assert "QQKEY" not in text
    assert "QQWORD" not in text


def test_wandb_has_a_run_for_each_configuration_in_the_sweeps_group(tmp_path: Path) -> None:
    for run in ("chosen", "default"):
        (tmp_path / run).mkdir()
    trials = TRIALS.assign(state="complete", inner_loss=[0.6, 0.8642, 0.5])
    finished(WandbTracker("recart", None, "offline", 5), tmp_path, trials)
    group = json.loads((tmp_path / "logs" / "group.json").read_text())["group"]
    runs = [path.read_bytes() for path in (tmp_path / "logs").rglob("*.wandb")]
    assert len(runs) == 3  # two configurations and the table
    assert all(f"recart-{group}".encode() in run for run in runs)
    (other,) = (run for run in runs if b"0.8642" in run and b"folds_that_chose_it" in run)
    assert b"model/latent" in other
    for name in ("chosen", "default"):
        own = tracked(tmp_path / name / "logs", compose([]), {}, str)
        assert (own.group, own.part) == (group, name)
