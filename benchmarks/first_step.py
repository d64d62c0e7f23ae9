"""Claim: ten seconds after `train.py` is typed, the first training step is done; five is the goal.

Starts the quick experiment as a user would, in new processes, and notes when each phase ends:
without a prepared store, then with one. `import scvi` alone, where scvi-tools is installed, is
the peer. Also timed: `--help` and a key that does not exist. Files are warm in the system's cache,
and modules are compiled to bytecode, as after any first run.

    python benchmarks/first_step.py [--runs 3] [override ...]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_REPOSITORY = Path(__file__).parents[1]
_LIMIT = 120.0  # seconds until a run is given up

# Every Python process of the run imports this by itself, also one that a job is dealt to. It
# wraps a function when its module is loaded, and imports nothing that recart would not.
_HOOK = """
import functools, importlib.machinery, os, sys, time

def mark(name):
    with open(os.environ["RECART_MARKS"], "a") as file:
        file.write(f"{time.time()} {os.getpid()} {name}\\n")

def wrap(owner, function, before, after):
    plain = getattr(owner, function)
    @functools.wraps(plain)
    def timed(*args, **kwargs):
        before and mark(before)
        result = plain(*args, **kwargs)
        after and mark(after)
        return result
    setattr(owner, function, timed)

def launch(module):
    mark("imports")
    wrap(module, "prepare_cohort", "configuration checked", "cohort")

def training(module):
    wrap(module.StackModule, "training_step", "features, model, trainer", None)

def optimizer(module):
    wrap(module.StackedAdam, "step", None, "first step")

WATCHED = {
    "recart.training.launch": launch,
    "recart.training.module": training,
    "recart.training.optimizer": optimizer,
}

class Watcher(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in WATCHED:
            return None
        if name == "recart.training.launch":
            mark("python and configuration")
        spec = super().find_spec(name, path, target)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            WATCHED[name](module)
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Watcher)
"""
_PHASES = (
    "python and configuration",
    "imports",
    "configuration checked",
    "cohort",
    "features, model, trainer",
    "first step",
)


def compiled(bytecode: Path) -> dict[str, str]:
    """Environment of a run: as here, but with bytecode kept, in a folder of the benchmark."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(bytecode)}


def phases(overrides: list[str], folder: Path, bytecode: Path) -> dict[str, float]:
    """Seconds from the start of `train.py` until each phase was first over."""
    hook = folder / "hook"
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(_HOOK)
    marks = folder / "marks"
    marks.unlink(missing_ok=True)
    path = os.pathsep.join(filter(None, (str(hook), os.environ.get("PYTHONPATH"))))
    environment = {**compiled(bytecode), "PYTHONPATH": path, "RECART_MARKS": str(marks)}
    command = [sys.executable, "train.py", "experiment=quick", *overrides]
    command += [
        f"paths.prepared={folder / 'prepared'}",
        f"paths.run={folder / 'run'}-{time.time()}",
    ]
    output = folder / "output"
    start = time.time()
    with output.open("w") as file:
        process = subprocess.Popen(
            command,
            cwd=_REPOSITORY,
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            while time.time() - start < _LIMIT and process.poll() is None:
                if marks.exists() and "first step" in marks.read_text():
                    break
                time.sleep(0.01)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
    found: dict[str, float] = {}
    for line in marks.read_text().splitlines() if marks.exists() else []:
        when, _, name = line.split(" ", 2)
        found.setdefault(name, float(when) - start)
    if "first step" not in found:
        raise RuntimeError(f"no training step:\n{output.read_text()[-2000:]}")
    return found


def seconds(command: list[str], bytecode: Path, runs: int) -> float:
    """Median wall seconds of a command, whatever its exit status; one run more goes first."""
    values = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, *command],
            cwd=_REPOSITORY,
            env=compiled(bytecode),
            capture_output=True,
            check=False,
        )
        values.append(time.perf_counter() - start)
    return statistics.median(values[1:])


def table(title: str, runs: list[dict[str, float]]) -> list[str]:
    """One line a phase: medians of its own seconds, and of the seconds since the start."""
    lines, before = [title], 0.0
    for name in _PHASES:
        values = [run[name] for run in runs if name in run]
        if values:
            until = statistics.median(values)
            lines.append(f"  {name:28s} {until - before:6.2f} s   {until:6.2f} s")
            before = until
    return lines


def measure(overrides: list[str], runs: int, folder: Path) -> list[str]:
    """The lines to print."""
    bytecode = folder / "bytecode"
    places = [folder / f"{i}" for i in range(runs + 1)]
    for place in places:
        place.mkdir()
    # the first of them compiles and is not counted
    fresh = [phases(overrides, place, bytecode) for place in places][1:]
    prepared = [phases(overrides, place, bytecode) for place in places[1:]]
    lines = table("store prepared before: seconds of the phase, since the start", prepared)
    lines += table("no store yet", fresh)
    for name, command in (
        ("train.py --help", ["train.py", "--help"]),
        ("a key that does not exist", ["train.py", "model.latnet=3"]),
        ("a parameter that does not exist", ["train.py", "+model.latnet=3"]),
    ):
        lines.append(f"{name:33s} {seconds(command, bytecode, runs):6.2f} s")
    if importlib.util.find_spec("scvi") is not None:
        peer = seconds(["-c", "import scvi"], bytecode, runs)
        ratio = statistics.median(run["first step"] for run in prepared) / peer
        lines.append(f"{'import scvi':33s} {peer:6.2f} s, recart's first step: {ratio:.2f} of it")
    return lines


def main() -> None:
    """Print the phases, and the answers that need no data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = measure(options.overrides, options.runs, Path(folder))
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
