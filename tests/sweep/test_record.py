"""The storage holds each trial once, however often a sweep is broken off."""

from __future__ import annotations

import sys
from pathlib import Path

import optuna
import pytest

from recart.problems import InputError
from recart.sweep.record import Record
from recart.sweep.scores import TrialScore
from recart.sweep.space import Choice, Distribution, Float
from recart.sweep.storages import Database, JournalFile, SqliteFile, Storage

SPACE: dict[str, Distribution] = {"a": Float(low=0.0, high=1.0), "c": Choice(options=["x", "y"])}
VALUES = [{"a": 0.5, "c": "x"}, {"a": 0.25, "c": "y"}, {"a": 7.0, "c": "y"}]
SCORES = [
    TrialScore(trial=0, fold="r0f0", state="complete", scores={"inner_loss": 0.6}, curve={2: 0.7}),
    TrialScore(trial=1, fold="r0f0", state="pruned", curve={2: 0.9}),
    TrialScore(trial=2, fold="r0f0", state="failed"),
]


@pytest.mark.parametrize("storage", [SqliteFile(), JournalFile()], ids=["sqlite", "journal"])
def test_a_trial_is_there_once(storage: Storage, tmp_path: Path) -> None:
    for scores in ([], SCORES[:1], SCORES, SCORES):
        record = Record(storage, tmp_path, SPACE, ["inner_loss"])
        record.asked("r0f0", 0, VALUES)
        record.told("r0f0", scores)
        record.close()
    study = optuna.load_study(study_name=f"{tmp_path.name}/r0f0", storage=storage.open(tmp_path))
    assert [trial.params for trial in study.trials] == [VALUES[0], VALUES[1], {"c": "y"}]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert study.best_value == 0.6
    assert study.trials[1].intermediate_values == {2: 0.9}


def test_trials_of_another_sweep_are_refused(tmp_path: Path) -> None:
    record = Record(SqliteFile(), tmp_path, SPACE, ["inner_loss"])
    record.asked("r0f0", 0, VALUES[:1])
    with pytest.raises(InputError, match="holds other trials"):
        record.asked("r0f0", 0, VALUES[1:])
    record.close()


def test_a_database_that_is_not_there_is_told_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be opened") as caught:
        Database(url=f"sqlite:///{tmp_path}/none/secret-word.db").open(tmp_path)
    assert "secret-word" not in str(caught.value)


def test_a_driver_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r"E-SWEEP-014.*\.\[postgresql\]") as caught:
        Database(url="postgresql+psycopg://me:secret-word@host/name").open(tmp_path)
    assert "secret-word" not in str(caught.value)
