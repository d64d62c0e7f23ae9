"""`train.py status=<folder>`: how far a run or a sweep is, from its files alone."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from recart.problems import InputError, Problem
from recart.training.heartbeat import HEARTBEAT, process_began
from recart.training.state_files import StateFiles

__all__ = ["MemberStatus", "member_status", "status_command"]

_KEY: Final = "status="
_STATES: Final = ("done", "running", "waiting", "failed")


@dataclass(frozen=True, kw_only=True)
class MemberStatus:
    """One member: its state, and the epoch that it has reached where it is not done."""

    name: str
    state: str
    epoch: int | None = None
    rate: float | None = None


def status_command(arguments: Sequence[str]) -> bool:
    """Show the status where it is asked for, and end with status 2 where there is none to show.

    Returns whether it was asked for. Locks nothing and writes nothing.
    """
    asked = [own for own in arguments if own.startswith(_KEY)]
    if not asked:
        return False
    try:
        if len(arguments) > 1:
            raise InputError([_alone()])
        _show(Path(asked[0].removeprefix(_KEY)), Console(soft_wrap=True, highlight=False))
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    return True


def member_status(folder: Path, beat: dict[str, Any]) -> list[MemberStatus]:
    """All members of the run's split; `beat` is its heartbeat, empty where there is none."""
    alive = _alive(beat)
    jobs = {member: job for name, job in _jobs(beat).items() for member in name.split(", ")}
    reached = {
        name: own
        for place in sorted((folder / "states").glob("*"))
        if (own := StateFiles(place).reached()) is not None
        for name in [place.name.partition("-")[0]]
    }
    found = []
    for name in _names(folder):
        job = jobs.get(name, {})
        epoch = job.get("epoch")
        if (folder / "checkpoints" / f"{name}.ckpt").is_file():
            found.append(MemberStatus(name=name, state="done"))
        elif job.get("ended"):
            found.append(MemberStatus(name=name, state="failed", epoch=epoch))
        elif alive and epoch is not None:
            found.append(MemberStatus(name=name, state="running", epoch=epoch, rate=_rate(job)))
        else:
            at = None if alive or name not in reached else reached[name][0]
            found.append(MemberStatus(name=name, state="waiting", epoch=at))
    return found


def _show(folder: Path, console: Console) -> None:
    if not (folder / "run.json").is_file():
        raise InputError([_no_run(folder)])
    beat = _read(folder / HEARTBEAT)
    console.print(f"{folder}: {_process(beat, _text(folder / 'run.lock'))}")
    scores = sorted((folder / "scores").glob("*/*.json"))
    budget = _read(folder / "budget.json").get("trials")
    if budget is not None:
        _show_trials(scores, budget, console)
        _show_rest(folder, scores, budget, beat, console)
    elif (folder / "split.json").is_file():
        members = member_status(folder, beat)
        _show_members(members, beat, console)
        if _idle(folder, beat) and any(own.state != "done" for own in members):
            console.print(f"to go on: the same command with paths.run={folder}")
    else:
        console.print("it has no split yet: the cohort is being read, or was when it ended")
    if _alive(beat):
        _show_jobs(beat, console)
    if (folder / "metrics.json").is_file():
        console.print("evaluated: metrics.json, report.html")


def _show_members(members: Sequence[MemberStatus], beat: dict[str, Any], console: Console) -> None:
    counts = {state: sum(own.state == state for own in members) for state in _STATES}
    words = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    console.print(f"{len(members)} members: {words}")
    table = Table("fold", *_STATES, box=None, pad_edge=False)
    folds: dict[str, list[MemberStatus]] = {}
    for own in members:
        folds.setdefault(own.name.partition("f")[2] or own.name, []).append(own)
    for fold, inside in folds.items():
        cells = [str(sum(own.state == state for own in inside) or "") for state in _STATES]
        table.add_row(fold, *cells)
    console.print(table)
    for own in members:
        if own.state == "failed":
            console.print(f"{own.name} failed{_epoch(own, beat)}; the run's terminal says how")
        elif own.state == "waiting" and own.epoch is not None:
            console.print(f"{own.name} has a state{_epoch(own, beat)}, from which it goes on")


def _show_trials(scores: Sequence[Path], budget: int, console: Console) -> None:
    """Trials of each fold that have a score, by how they ended."""
    table = Table("fold", "complete", "pruned", "failed", box=None, pad_edge=False)
    folds: dict[str, list[str]] = {}
    for path in scores:
        folds.setdefault(path.parent.name, []).append(str(_read(path).get("state")))
    total = dict.fromkeys(("complete", "pruned", "failed"), 0)
    for fold, states in sorted(folds.items()):
        table.add_row(fold, *(str(states.count(state) or "") for state in total))
        total = {state: count + states.count(state) for state, count in total.items()}
    words = ", ".join(f"{count} {state}" for state, count in total.items() if count)
    console.print(f"{len(scores)} of {budget} trials have a score{words and ': '}{words}")
    if folds:
        console.print(table)


def _show_rest(
    folder: Path, scores: Sequence[Path], budget: int, beat: dict[str, Any], console: Console
) -> None:
    """Of a sweep that runs the time left, of one that was broken off how it goes on."""
    missing = budget - len(scores)
    if _idle(folder, beat):
        if missing > 0 or not (folder / "sweep.json").is_file():
            console.print(f"to go on: the same command with paths.run={folder}")
        return
    began = (folder / "run.lock").stat().st_mtime if (folder / "run.lock").is_file() else 0.0
    own = [path for path in scores if path.stat().st_mtime >= began]
    if missing > 0 and own and began:
        rate = len(own) / max(1e-3, time.time() - began)
        said = f"{3600 * rate:.3g} trials an hour since it was started"
        console.print(f"{said}; about {_span(missing / rate)} left at that rate")


def _idle(folder: Path, beat: dict[str, Any]) -> bool:
    """Whether nobody is at work in the folder, as far as files and this machine can say."""
    return not _alive(beat) and not _holder(_text(folder / "run.lock"))


def _show_jobs(beat: dict[str, Any], console: Console) -> None:
    """Jobs that run, with epoch and rate, and the time left of all that were dealt."""
    table = Table("running", "epoch", "epochs/s", "stopped early", box=None, pad_edge=False)
    for name, job in _jobs(beat).items():
        if not job["ended"] and job["epoch"] is not None:
            rate = _rate(job)
            early = f"{job['stopped']} of {job['members']}" if job["stopped"] else ""
            epoch = f"{job['epoch'] + 1}/{beat['epochs']}"
            table.add_row(name, epoch, "" if rate is None else f"{rate:.3g}", early)
    if table.row_count:
        console.print(table)
    if beat.get("left") is not None:
        left = max(0.0, beat["left"] - (time.time() - beat["updated"]))
        console.print(f"{beat['rate']:.3g} epochs/s in all; at most {_span(left)} left of these")


def _process(beat: dict[str, Any], lock: str) -> str:
    """Who writes into the run, as far as files and this machine can say."""
    holder = _holder(lock)
    if holder and not _alive(beat):
        return f"{holder} is at work in it; no member trains at this moment"
    if not beat:
        return "not running; nothing has been trained yet"
    ago = _span(max(0.0, time.time() - beat["updated"]))
    if beat["ended"]:
        return f"not running; training ended {ago} ago"
    who = f"process {beat['process']} on {beat['host']}"
    if _alive(beat):
        return f"{who} is training; last sign {ago} ago"
    return f"not running; {who} was killed, its last sign was {ago} ago"


def _holder(lock: str) -> str:
    """Who has the run's lock, empty if that process is of this machine and is gone."""
    found = re.fullmatch(r"process (\d+) on (.*)", lock)
    if found is None:
        return ""
    here = found[2] == socket.gethostname()
    return "" if here and process_began(int(found[1])) is None else lock


def _alive(beat: dict[str, Any]) -> bool:
    """Whether the process runs; one on another machine can only be taken at its word."""
    if not beat or beat["ended"]:
        return False
    return bool(
        beat["host"] != socket.gethostname() or process_began(beat["process"]) == beat["began"]
    )


def _jobs(beat: dict[str, Any]) -> dict[str, dict[str, Any]]:
    jobs: dict[str, dict[str, Any]] = beat.get("jobs", {})
    return jobs


def _rate(job: dict[str, Any]) -> float | None:
    """Epochs a second between the first and the last that were seen."""
    spent = job["at"] - job["first_at"]
    return (job["epoch"] - job["first_epoch"]) / spent if spent > 0 else None


def _epoch(own: MemberStatus, beat: dict[str, Any]) -> str:
    if own.epoch is None:
        return ""
    return f" at epoch {own.epoch}" + (f" of {beat['epochs']}" if beat else "")


def _names(folder: Path) -> list[str]:
    split = _read(folder / "split.json")
    return [f"r{fold['repeat']}f{fold['fold']}" for fold in split.get("folds", [])]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _read(path: Path) -> dict[str, Any]:
    """A file's JSON; nothing where it is not there, or is being replaced."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _span(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _alone() -> Problem:
    return Problem(
        code="E-STATUS-002",
        what="status= stands with other settings",
        mend="python train.py status=<folder of a run or a sweep>, and nothing else",
    )


def _no_run(folder: Path) -> Problem:
    what = "no run.json in this folder" if folder.is_dir() else "there is no such folder"
    return Problem(
        code="E-STATUS-001",
        file=str(folder),
        what=what,
        mend="name the folder of a run or a sweep: the first lines of train.py say it",
    )
