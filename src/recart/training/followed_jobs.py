"""Runs jobs to their end while watchers follow them, and says of all that failed what happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recart.problems import InputError, Problem
from recart.training.epoch_reports import EpochReport, EpochWatcher
from recart.training.executors.executor import Executor, Failure, Job

__all__ = ["Followed", "JobError", "run_followed"]

_LATE: Final = 60.0  # seconds until a file that another machine has written is seen here
_LOOK: Final = 0.5  # seconds between looks for it


class JobError(RuntimeError):
    """The tracebacks of jobs that failed elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Followed:
    """A job, the number of its members, and the files that it leaves behind."""

    job: Job
    members: int
    files: Sequence[Path]


def run_followed(
    followed: Sequence[Followed],
    executor: Executor,
    watchers: Sequence[EpochWatcher],
    epochs: int,
    progress: Callable[[str], None],
    problem: Callable[[str, Failure], Problem],
) -> None:
    """Run jobs; one that fails does not stop the others.

    Parameters
    ----------
    followed
        Jobs of different names.
    executor
        Where they run.
    watchers, epochs
        Follow the epochs of all jobs, of which there are so many at most.
    progress
        Given a line on each job that failed.
    problem
        What a user is told of a job of this name that failed.

    Raises
    ------
    InputError
        If a job failed, when all others have run.
    """
    members = {own.job.name: own.members for own in followed}
    files = {own.job.name: own.files for own in followed}
    failures: dict[str, Failure] = {}

    def advance(job: Job, report: EpochReport) -> None:
        for watcher in watchers:
            watcher.advance(job.name, report)

    with ExitStack() as stack:
        for watcher in watchers:
            watcher.start(members, epochs)
            stack.callback(watcher.stop)
        jobs = [own.job for own in followed]
        for outcome in stack.enter_context(closing(executor.run(jobs, advance))):
            name = outcome.job.name
            for watcher in watchers:
                watcher.end(name)
            failure = outcome.failure or _lost(files[name], executor)
            if failure is not None:
                failures[name] = failure
                progress(f"{name} failed; {failure}")
    if failures:
        traces = "\n".join(f"{name}:\n{own.trace or own}" for name, own in failures.items())
        raise InputError(problem(*failed) for failed in failures.items()) from JobError(traces)


def _lost(files: Sequence[Path], executor: Executor) -> Failure | None:
    """Whether a job on another machine wrote its files where they can't be seen from here."""
    until = time.monotonic() + (_LATE if executor.elsewhere else 0)
    folders = {path.parent for path in files}
    # a listing: that one name was not there is remembered by file systems of networks
    while lacking := set(files) - {path for folder in folders for path in _listed(folder)}:
        if time.monotonic() >= until:
            names = ", ".join(sorted(path.name for path in lacking))
            return Failure(
                how=f"{names} can't be seen from here",
                said="paths.run must lie on a file system that all machines share",
            )
        time.sleep(_LOOK)
    return None


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
