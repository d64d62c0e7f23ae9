"""Claim: what is killed goes on to the same bytes; nothing that is finished is done again or lost.

`training`: a member's job (features, encoder, head, file) in a process of its own is killed at a
random time and started again, until it is through: runs with one kill each, then runs with five.
Its file must have the SHA-256 of the unbroken job's. `saves`: a process that writes states without
a pause is killed at a random time; the newest state that can be read must be no older than the last
that it had reported as written. TMPDIR is on another disk, where `--other` names a folder there.
`disk`: states are written to a disk until it is full (`--full`, a small file system mounted for
it); what was written before must be there, and what is said must name the need and the room.
`runs`: `train.py` is killed, or one of its workers, and started again with the same command, until
it is through, then evaluated; every file of a member and every table must have the SHA-256 of the
unbroken run's (of the metrics all but the number of looks, which each evaluation raises), and no
file that was there may change.

Processes of the first two are forked from this one, which has imported everything.

    python benchmarks/kills.py training saves runs [--kills 50] [--full FOLDER]
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil
import torch
from cells import bags_of, member_of, random_store
from contenders import quiet, recipes, settings

from recart.config.build import build
from recart.config.compose import compose
from recart.problems import InputError
from recart.training.head_start import MEMBER_IMPORTS
from recart.training.member_job import MemberJob, Trainers
from recart.training.shared_store import SharedStore
from recart.training.state_files import StateFiles
from recart.training.states import States, program

ROOT = Path(__file__).parents[1]
SMALL = (
    *("data.reader.patients=10", "data.reader.cells_per_sample=150", "data.folds.k=4"),
    *("data.folds.repeats=1", "training.epochs=20", "training.patience=20", "model.hidden=16"),
    *("model.latent=4", "features.n_genes=150", "head.prototypes=4", "head.inner_folds=2"),
    *("trainer.checkpoint_every=0.5", "executor.processes=2"),
)


def say(line: str) -> None:
    """A line of the result."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def sha(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def forked(work: Callable[[], None]) -> int:
    """The number of a process that does the work and ends."""
    number = os.fork()
    if number:
        return number
    try:
        work()
    except BaseException as error:  # whatever it is, this process is not to go on as its parent
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(1)
    os._exit(0)


def ended(number: int, within: float) -> int | None:
    """Its status if it ends in time; else it is killed, and None."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return None


def job_in(folder: Path) -> MemberJob:
    """One member on 1,200 random cells, 8 epochs; a state every twentieth of a second."""
    store = random_store(1200, 120, 10, 8)
    bags = bags_of(store)
    made = recipes(120, epochs=8, batch=128)
    made = replace(made, model=replace(made.model, latent=5, hidden=32))
    belongs = {"program": program()}
    folder.mkdir(parents=True, exist_ok=True)
    return MemberJob(
        members=[member_of("r0f0", (0, 1, 2, 3, 4), (5, 6))],
        shared=SharedStore(store, folder),
        bags=bags,
        extras=pd.DataFrame(index=bags.table.index),
        recipes=made,
        head=build(compose(["head.prototypes=3", "head.inner_folds=2"]).head),
        trainers=Trainers(
            settings=settings(),
            callbacks=[],
            folder=folder,
            states=States(folder=folder / "states", belongs=belongs, every=0.05),
        ),
        folder=folder,
    )


def trainings(folder: Path, runs: int, kills: int, rng: random.Random) -> None:
    """`runs` jobs, each killed `kills` times at random."""

    def start(place: Path) -> int:
        job = job_in(place)
        return forked(lambda: job(lambda _: None))

    began = time.monotonic()
    if ended(start(folder / "unbroken"), 600) != 0:
        raise SystemExit("the unbroken job failed")
    whole = time.monotonic() - began
    expected = sha(folder / "unbroken" / "r0f0.ckpt")
    same = inside = late = 0
    for run in range(runs):
        place = folder / f"{kills}-{run}"
        hit = 0
        while hit < kills:
            # what is left of it is not known: a time within the whole, over the kills to come
            if ended(start(place), rng.uniform(0, whole / kills)) is None:
                hit += 1
                inside += any((place / "states").glob("*/state-*.bin"))
            elif (place / "r0f0.ckpt").exists():  # it was through before: all kills once more
                late += 1
                whole *= 0.9
                hit = 0
                shutil.rmtree(place)
        while ended(start(place), 600) != 0:
            pass
        same += sha(place / "r0f0.ckpt") == expected
        shutil.rmtree(place)
        if (run + 1) % 10 == 0:
            say(
                f"{run + 1} jobs, {kills} kills each while they ran, {inside} of these with a "
                f"state to go on from: {same} of {run + 1} files equal by SHA-256 ({late} jobs "
                "were through before and began again)"
            )


def saves(folder: Path, kills: int, other: str | None, rng: random.Random) -> None:
    """Kill a process that writes states, `kills` times."""
    content = {"weights": torch.zeros(1_000_000), "number": 0}
    place = folder / "saves"
    if other is not None:
        os.environ["TMPDIR"] = tempfile.tempdir = other
    lost = unreadable = parts = newest = 0
    for _ in range(kills):
        reader, writer = os.pipe()

        def write(first: int = newest, pipe: int = writer) -> None:
            for number in range(first + 1, first + 10_000):
                StateFiles(place).write({"number": number}, {**content, "number": number})
                os.write(pipe, f"{number}\n".encode())

        number = forked(write)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            told = [int(pipe.readline())]
            ended(number, rng.uniform(0, 0.1))
            told += [int(line) for line in pipe]
        parts += len(list(place.glob(".*.part")))
        refused: list[str] = []
        found = next(iter(StateFiles(place).newest(refused.append)), None)
        read = 0 if found is None else int(found.content["number"])
        lost += read < max(told, default=newest)
        unreadable += len(refused)
        newest = max(read, newest)
        if list(place.glob(".*.part")):
            raise SystemExit("a part is left")
    say(
        f"{kills} kills while states of 4 MB were written ({newest} written), TMPDIR on "
        f"{other or 'the same disk'}: {lost} states lost, {unreadable} unreadable; {parts} "
        "unfinished files were left and swept"
    )


def full_disk(place: Path, times: int) -> None:
    """Write to a small disk until it is full, `times` times."""
    kept = named = 0
    words = ""
    for size in range(times):
        files = StateFiles(place / f"states-{size}")
        content = {"weights": torch.zeros(60_000 + 4_000 * size)}
        files.write({"number": 0}, {**content, "number": 0})
        free = shutil.disk_usage(place).free
        (place / "filler").write_bytes(b"\0" * max(0, free - 100_000))
        try:
            files.write({"number": 1}, {**content, "number": 1})
        except InputError as error:
            words = str(error.problems[0])
            named += "bytes" in words and "free" in words
        found = next(iter(files.newest(lambda _: None)))
        kept += found.content["number"] == 0 and not list(files.folder.glob(".*"))
        shutil.rmtree(files.folder)
        (place / "filler").unlink()
    say(f"{times} full disks: {kept} times the state before was intact, {named} times it is said")
    say(f"  {words}")


def runs(folder: Path, starts: int, who: str, rng: random.Random) -> None:
    """Kill `train.py` (`driver`) or one of its workers, `starts` times over several runs."""
    killed = done = redone = zombies = 0
    expected: dict[str, str] = {}
    tables: list[bool] = []
    while killed < starts or not expected:
        place = folder / f"{who}-{done}"
        unbroken = not expected
        files: dict[str, str] = {}
        while True:
            after = None if unbroken or killed >= starts else rng.uniform(0, 8)
            code, hit = _start(place, folder, after, who)
            killed += hit
            zombies += len(_left(place))
            there = {path.name: sha(path) for path in (place / "checkpoints").glob("*.ckpt")}
            redone += sum(there.get(name) != own for name, own in files.items())
            files = there
            if code == 0:
                break
        _command("evaluate.py", [f"run={place}", "audit=none"])
        found = files | {"predictions": sha(place / "predictions.parquet"), **_metrics(place)}
        expected = expected or found
        tables.append(found == expected)
        done += 1
        say(
            f"{killed} kills of the {who} over {done - 1} runs: {sum(tables[1:])} of {done - 1} "
            f"runs with all members and tables equal by SHA-256; {redone} finished members "
            f"changed, {zombies} processes left"
        )


def _metrics(place: Path) -> dict[str, str]:
    """The metrics, but for how often the ledger says that these patients were looked at."""
    lines = (place / "metrics.json").read_text().splitlines()
    text = "\n".join(line for line in lines if '"looks":' not in line)
    return {"metrics": hashlib.sha256(text.encode()).hexdigest()}


def _command(script: str, arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, script, *arguments], cwd=ROOT, capture_output=True)
    if done.returncode:
        raise SystemExit(done.stderr.decode())


def _start(place: Path, folder: Path, after: float | None, who: str) -> tuple[int, bool]:
    """Start `train.py`; `after` seconds of training, kill. Its status, and whether it was hit."""
    arguments = [*SMALL, f"paths.run={place}", f"paths.prepared={folder / 'prepared'}"]
    process = subprocess.Popen(
        [sys.executable, "train.py", *arguments], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    hit = False
    if after is not None:
        while process.poll() is None and not _training(place, process.pid):
            time.sleep(0.05)
        time.sleep(after)
        victims = [process.pid] if who == "driver" else _workers(process.pid)
        if process.poll() is None and victims:
            os.kill(random.choice(victims), signal.SIGKILL)
            hit = True
    return process.wait(), hit


def _training(place: Path, number: int) -> bool:
    try:
        beat = json.loads((place / "progress.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(beat["process"] == number)


def _workers(number: int) -> list[int]:
    """Processes of jobs: those that the server of processes has forked."""
    try:
        servers = psutil.Process(number).children()
        return [own.pid for server in servers for own in server.children()]
    except psutil.Error:
        return []


def _left(place: Path) -> list[int]:
    """Processes that still speak of this run, a moment later."""
    time.sleep(2)
    found = []
    for own in psutil.process_iter(["cmdline"]):
        if any(str(place) in word for word in own.info["cmdline"] or []):
            found.append(own.pid)
    return found


def main() -> None:
    """Run what is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="+", choices=["training", "saves", "disk", "runs"])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--runs", type=int, default=20, help="of those with five kills each")
    parser.add_argument("--other", help="a folder on another disk, for TMPDIR")
    parser.add_argument("--full", type=Path, help="a small file system to fill")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    torch.set_num_threads(1)
    quiet()
    for module in MEMBER_IMPORTS:  # not in each process
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "training" in chosen.what:
            trainings(folder, chosen.kills, 1, rng)
            trainings(folder, chosen.runs, 5, rng)
        if "saves" in chosen.what:
            saves(folder, 4 * chosen.kills, chosen.other, rng)
        if "disk" in chosen.what and chosen.full is not None:
            full_disk(chosen.full, 20)
        if "runs" in chosen.what:
            for who in ("driver", "worker"):
                runs(folder, 2 * chosen.kills // 5, who, rng)


if __name__ == "__main__":
    main()
