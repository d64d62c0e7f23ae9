"""Trackers get trials and scores, and no word but recart's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from recart.sweep.tracked_sweep import sweep_tables, track_sweep
from recart.training.epoch_reports import EpochWatcher
from recart.training.trackers import Table, Tracked, Tracker

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
        self.tables: dict[str, Table] = {}

    @contextmanager
    def follow(self, run: Tracked) -> Iterator[EpochWatcher]:
        raise AssertionError(run)
        yield

    def record(self, run: Tracked, tables: Mapping[str, Table]) -> None:  # noqa: ARG002
        self.tables = dict(tables)


def test_trials_are_rows_and_their_means_a_curve() -> None:
    tables = sweep_tables(TRIALS)
    assert tables["curve_trials"] == [{"trial": 0, "inner_loss": 0.55, "encoder_loss": 8.0}]
    assert len(tables["trials"]) == 3
    assert "inner_loss" not in tables["trials"][1]


def test_words_of_the_space_stay_here(tmp_path: Path) -> None:
    TRIALS.to_csv(tmp_path / "trials.csv", index=False)
    heard = Heard()
    run = Tracked(folder=tmp_path, settings={}, group="g", say=lambda _: None)
    track_sweep({"heard": heard}, run, tmp_path)
    assert heard.tables["trials"][0]["model/latent"] == 5
    assert heard.tables["trials"][1]["state"] == "pruned"
    assert "QQSECRET" not in str(heard.tables)
