"""How far a run is, from its files, as another terminal sees it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from recart.training.epoch_reports import EpochReport
from recart.training.heartbeat import Heartbeat
from recart.training.state_files import StateFiles
from recart.training.status import member_status, status_command

SECRET = "QQPERSON"


def report(epoch: int, done: int = 0) -> EpochReport:
    return EpochReport(epoch=epoch, step=epoch, means={"members_done": float(done)})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Five members: one done before, one failed, one that trains, two that wait."""
    folds = [{"repeat": 0, "fold": fold, "held_out": [f"{SECRET}-{fold}"]} for fold in range(5)]
    (tmp_path / "split.json").write_text(json.dumps({"folds": folds}))
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "r0f0.ckpt").touch()
    return tmp_path


@pytest.fixture
def heartbeat(run: Path) -> Heartbeat:
    heart = Heartbeat(run)
    heart.start(dict.fromkeys(("r0f1", "r0f2", "r0f3", "r0f4"), 1), 60)
    heart.advance("r0f1", report(3))
    heart.end("r0f1")
    for epoch in range(5):
        heart.advance("r0f2", report(epoch))
    heart.end("r0f1")  # writes
    return heart


def beat_of(run: Path) -> dict[str, Any]:
    beat: dict[str, Any] = json.loads((run / "progress.json").read_text())
    return beat


def shown(run: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert status_command([f"status={run}"])
    return capsys.readouterr().out


def test_a_run_that_trains(
    run: Path, heartbeat: Heartbeat, capsys: pytest.CaptureFixture[str]
) -> None:
    members = {own.name: own for own in member_status(run, beat_of(run))}
    assert [own.state for own in members.values()] == [
        "done",
        "failed",
        "running",
        "waiting",
        "waiting",
    ]
    assert members["r0f2"].epoch == 4
    assert members["r0f2"].rate is not None
    out = shown(run, capsys)
    assert "5 members: 1 done, 1 running, 2 waiting, 1 failed" in out
    assert "r0f2" in out
    assert "5/60" in out
    assert "left of these" in out
    assert "is training; last sign" in out
    assert "to go on" not in out
    heartbeat.stop()
    out = shown(run, capsys)
    assert "not running; training ended" in out
    assert f"to go on: the same command with paths.run={run}" in out


@pytest.mark.usefixtures("heartbeat")
def test_a_run_that_was_killed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beat = beat_of(run)
    (run / "progress.json").write_text(json.dumps({**beat, "began": beat["began"] - 1}))
    StateFiles(run / "states" / "r0f2-1-abc").write({"epoch": 4, "step": 11}, {})
    out = shown(run, capsys)
    assert "was killed, its last sign was" in out
    assert "r0f2 has a state at epoch 4 of 60, from which it goes on" in out
    assert "epochs/s" not in out


def test_members_that_stopped_early_are_not_waited_for(run: Path) -> None:
    heart = Heartbeat(run)
    heart.start({"r0f1, r0f2": 2, "r0f3": 1}, 10)
    heart.advance("r0f1, r0f2", report(1, done=1))
    time.sleep(0.01)
    heart.end("r0f3")
    beat = beat_of(run)
    assert beat["left"] * beat["rate"] == pytest.approx(8)  # epochs of the one that trains


def test_before_anything_is_known(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "4 waiting" in shown(run, capsys)
    (run / "run.lock").write_text(f"process {os.getpid()} on {socket.gethostname()}")
    out = shown(run, capsys)
    assert f"process {os.getpid()} on {socket.gethostname()} is at work in it" in out
    assert "to go on" not in out
    (run / "split.json").unlink()
    assert "no split yet" in shown(run, capsys)


def test_a_sweep_shows_its_trials(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for fold, states in {"r0f0": ["complete", "pruned"], "r0f1": ["failed"]}.items():
        (run / "scores" / fold).mkdir(parents=True)
        for number, state in enumerate(states):
            score = json.dumps({"state": state})
            (run / "scores" / fold / f"{number:05d}.json").write_text(score)
    (run / "budget.json").write_text('{"trials": 40}')
    out = shown(run, capsys)
    assert "3 of 40 trials have a score: 1 complete, 1 pruned, 1 failed" in out
    go_on = f"to go on: the same command with paths.run={run}"
    assert go_on in out
    lock = run / "run.lock"
    lock.write_text(f"process {os.getpid()} on {socket.gethostname()}")
    began = time.time() - 600
    os.utime(lock, (began, began))
    os.utime(run / "scores/r0f0/00000.json", (began - 9, began - 9))  # of an earlier start
    out = shown(run, capsys)
    assert go_on not in out
    assert "12 trials an hour since it was started; about 3 h left at that rate" in out
    lock.write_text("")
    (run / "budget.json").write_text('{"trials": 3}')
    assert go_on in shown(run, capsys)  # its tables are missing
    (run / "sweep.json").touch()
    assert go_on not in shown(run, capsys)


@pytest.mark.usefixtures("heartbeat")
def test_nothing_of_patients_is_written_or_shown(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert SECRET not in (run / "progress.json").read_text()
    assert str(run) not in (run / "progress.json").read_text()
    assert SECRET not in shown(run, capsys)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["status=nowhere"], "E-STATUS-001"), (["status=x", "seed=3"], "E-STATUS-002")],
)
def test_what_can_not_be_shown(
    arguments: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        status_command(arguments)
    assert caught.value.code == 2
    assert code in capsys.readouterr().err
    assert not status_command(["seed=3"])


@pytest.mark.usefixtures("heartbeat")
def test_it_imports_nothing_heavy(run: Path) -> None:
    script = (
        "import sys\n"
        "from recart.training.status import status_command\n"
        "status_command(sys.argv[1:])\n"
        "heavy = {'torch', 'lightning', 'pandas', 'scipy', 'optuna'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = subprocess.run(
        [sys.executable, "-c", script, f"status={run}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
