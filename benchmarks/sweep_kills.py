"""Kills a sweep or one of its workers at random, again and again; then it must end as unbroken.

    python benchmarks/sweep_kills.py --kills 20 --what driver
    python benchmarks/sweep_kills.py --kills 20 --what worker

Every start of the sweep in one folder is killed (SIGKILL) after a random share of the seconds that
the unbroken one took, until so many kills were made or the sweep came to its end; it is then begun
in a new folder. Workers are killed one after another while the sweep runs, as others go on.
Counted are finished trials that were done again, configurations that are there twice, processes
that are left over, and tables that differ in any byte.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from killed import left_over, workers

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[1]
TABLES = ("trials.csv", "choice.csv", "sweep.json")
SMALL = [
    *("sweep=default", "sweep/sampler=tpe", "sweep.sampler.startup=2", "sweep.sampler.batch=2"),
    *("sweep.budget=4", "sweep.space.model.latent.options=[3,4]"),
    *("sweep.space.head.prototypes.low=2", "sweep.space.head.prototypes.high=6"),
    *("data/receptors=none", "data.reader.patients=12", "data.reader.cells_per_sample=60"),
    *("data.reader.genes=200", "data.limits.min_cells=10", "features.n_genes=120"),
    *("data.folds.k=2", "training.epochs=2", "training.warmup_epochs=1", "model.hidden=16"),
    "executor.processes=2",
]


def start(folder: Path, prepared: Path) -> subprocess.Popen[bytes]:
    """A sweep in a process of its own."""
    command = [sys.executable, str(ROOT / "train.py"), *SMALL]
    places = [f"paths.run={folder}", f"paths.prepared={prepared}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*command, *places], **quiet)  # type: ignore[call-overload, no-any-return]


def kill(process: subprocess.Popen[bytes], what: str, seconds: float, most: int) -> int:
    """Kill the driver, or one worker after another while the sweep runs; how many were killed."""
    kills = 0
    while kills < most:
        after = random.uniform(0.2, 1.0) * seconds / (1 if what == "driver" else 5)
        until = time.monotonic() + after
        while time.monotonic() < until or (what == "worker" and not workers(process.pid)):
            if process.poll() is not None:
                return kills
            time.sleep(0.1)
        if what == "driver":
            process.send_signal(signal.SIGKILL)
            return 1
        with suppress(ProcessLookupError, IndexError):  # it has ended since
            os.kill(random.choice(workers(process.pid)), signal.SIGKILL)
            kills += 1
    return kills


def done(folder: Path) -> dict[str, int]:
    """Scores that are there, and when each was written."""
    return {str(p): p.stat().st_mtime_ns for p in (folder / "scores").rglob("*.json")}


def twice(folder: Path) -> int:
    """Configurations that stand in the storage more than once, or are not finished."""
    storage = f"sqlite:///{folder / 'study.db'}"
    found = 0
    for name in optuna.get_all_study_names(storage):
        trials = optuna.load_study(study_name=name, storage=storage).trials
        found += len(trials) - len({repr(sorted(trial.params.items())) for trial in trials})
        found += sum(not trial.state.is_finished() for trial in trials)
    return found


def main() -> None:
    """Kill, compare, and write JSON in the last line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--what", choices=["driver", "worker"], default="driver")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    found: dict[str, Any] = dict.fromkeys(
        ("kills", "sweeps", "redone", "twice", "left_over", "tables_that_differ"), 0
    )
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        start(place / "first", place / "prepared").wait()  # prepares the cohort
        began = time.monotonic()
        if start(place / "whole", place / "prepared").wait():
            raise SystemExit("the unbroken sweep failed")
        seconds = time.monotonic() - began
        log.info("the unbroken sweep took %.1f s", seconds)
        while found["kills"] < options.kills:
            folder = place / f"broken{found['sweeps']}"
            before: dict[str, int] = {}
            ended = False
            while not ended:
                process = start(folder, place / "prepared")
                most = options.kills - found["kills"]
                killed = kill(process, options.what, seconds, most)
                found["kills"] += killed
                code = process.wait()
                now = done(folder)
                found["redone"] += sum(now.get(path) != when for path, when in before.items())
                before = now
                ended = code == 0
                if not killed and code:
                    raise SystemExit(f"the sweep failed by itself with exit code {code}")
            found["sweeps"] += 1
            found["twice"] += twice(folder)
            found["left_over"] += len(left_over(folder))
            found["tables_that_differ"] += sum(
                (folder / table).read_bytes() != (place / "whole" / table).read_bytes()
                for table in TABLES
            )
            log.info("%s", found)
    log.info("%s", json.dumps(found))


if __name__ == "__main__":
    main()
