"""`train.py`, killed at random or robbed of its workers, and started again until it is through."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from killed import left_over, say, sha, workers

__all__ = ["runs"]

ROOT = Path(__file__).parents[1]
SMALL = (
    *("data.reader.patients=10", "data.reader.cells_per_sample=150", "data.folds.k=4"),
    *("data.folds.repeats=1", "training.epochs=20", "training.patience=20", "model.hidden=16"),
    *("model.latent=4", "features.n_genes=150", "head.prototypes=4", "head.inner_folds=2"),
    *("trainer.checkpoint_every=0.5", "executor.processes=2"),
)


def runs(folder: Path, kills: int, who: str, rng: random.Random) -> None:
    """Kill `train.py` (`driver`) or its workers, so many times over several runs.

    A driver is killed once a start. Of workers one after another is killed while the command runs,
    as the others go on.
    """
    killed = done = redone = left = 0
    expected: dict[str, str] = {}
    same: list[bool] = []
    while killed < kills or not expected:
        place = folder / f"{who}-{done}"
        unbroken = not expected
        files: dict[str, str] = {}
        while True:
            most = 0 if unbroken else kills - killed
            code, hits = _start(place, folder, most, who, rng)
            killed += hits
            left += len(left_over(place))
            there = {path.name: sha(path) for path in (place / "checkpoints").glob("*.ckpt")}
            redone += sum(there.get(name) != own for name, own in files.items())
            files = there
            if code == 0:
                break
            if not hits:
                raise SystemExit(f"train.py failed by itself with exit code {code}")
        _evaluate(place)
        found = files | {"predictions": sha(place / "predictions.parquet"), **_metrics(place)}
        expected = expected or found
        same.append(found == expected)
        done += 1
        say(
            f"{killed} kills of the {who} over {done - 1} runs: {sum(same[1:])} of {done - 1} "
            f"runs with all members and tables equal by SHA-256; {redone} finished members "
            f"changed, {left} processes left"
        )


def _metrics(place: Path) -> dict[str, str]:
    """The metrics, but for how often the ledger says that these patients were looked at.

    Each evaluation of a cohort is one look more, and says so: the run that is evaluated after
    another does not have its number.
    """
    lines = (place / "metrics.json").read_text().splitlines()
    text = "\n".join(line for line in lines if '"looks":' not in line)
    return {"metrics": hashlib.sha256(text.encode()).hexdigest()}


def _evaluate(place: Path) -> None:
    settings = ["audit=none", "permutations=19", "permutation_repeats=1"]
    command = [sys.executable, "evaluate.py", f"run={place}", *settings]
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    if done.returncode:
        raise SystemExit(done.stderr.decode())


def _start(place: Path, folder: Path, most: int, who: str, rng: random.Random) -> tuple[int, int]:
    """Start `train.py` and kill at most so often once it trains. Its status, and the kills."""
    arguments = [*SMALL, f"paths.run={place}", f"paths.prepared={folder / 'prepared'}"]
    process = subprocess.Popen(
        [sys.executable, "train.py", *arguments], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    hits = 0
    while hits < most and process.poll() is None:
        while process.poll() is None and not _training(place, process.pid):
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 8 if who == "driver" else 4))
        victims = [process.pid] if who == "driver" else workers(process.pid)
        if process.poll() is None and victims:
            with suppress(ProcessLookupError):  # a worker that has ended since
                os.kill(rng.choice(victims), signal.SIGKILL)
                hits += 1
            if who == "driver":
                break
    return process.wait(), hits


def _training(place: Path, number: int) -> bool:
    """Whether this process has trained an epoch, or is at it."""
    try:
        beat = json.loads((place / "progress.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(beat["process"] == number)
