"""What trackers are given: the epochs of all jobs, as means over all members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, final

from recart.training.epoch_reports import EpochReport, EpochWatcher

__all__ = ["EpochMeans", "MetricLog"]


class MetricLog(Protocol):
    """Where rows of metrics go. Lightning's loggers are such logs."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> Any:
        """Take in a row."""

    def save(self) -> Any:
        """Write what was taken in."""


@dataclass(kw_only=True)
class _Job:
    """One job's epochs that are not written yet, and whether more will come."""

    members: int
    waiting: dict[int, EpochReport] = field(default_factory=dict)
    reached: int = -1
    members_done: int = 0
    ended: bool = False


@final
class EpochMeans(EpochWatcher):
    """Writes one row an epoch to the trackers: means over all members of all jobs.

    Epoch `e` is written when every job has trained it or has ended, so that rows are in order and
    each is written once. Members of a stack weigh as much as members alone. Jobs that start when
    others have ended, as the next trials of a sweep do, go on with the steps of those.

    Parameters
    ----------
    loggers
        The trackers' logs.
    """

    def __init__(self, loggers: Sequence[MetricLog]) -> None:
        self._loggers = loggers
        self._jobs: dict[str, _Job] = {}
        self._next = 0
        self._before = 0  # steps of jobs that have ended
        self._last = -1

    def start(self, members: Mapping[str, int], epochs: int) -> None:  # noqa: ARG002
        """Begin with the first epoch."""
        self._jobs = {name: _Job(members=count) for name, count in members.items()}
        self._next = 0
        self._before = self._last + 1

    def advance(self, job: str, report: EpochReport) -> None:
        """Take in one epoch of one job."""
        own = self._jobs[job]
        own.waiting[report.epoch] = report
        own.reached = report.epoch
        self._write()

    def end(self, job: str) -> None:
        """Wait for no further epochs of this job."""
        self._jobs[job].ended = True
        self._write()

    def stop(self) -> None:
        """Write what there is, also of epochs that not every job has reached."""
        for own in self._jobs.values():
            own.ended = True
        self._write()

    def _write(self) -> None:
        jobs = self._jobs.values()
        while any(self._next <= own.reached for own in jobs) and all(
            own.ended or self._next <= own.reached for own in jobs
        ):
            # a run that goes on inside its members has trained the first epochs before
            if any(self._next in own.waiting for own in jobs):
                self._write_row()
            self._next += 1

    def _write_row(self) -> None:
        sums: dict[str, float] = {}
        weights: dict[str, int] = {}
        step = 0
        for own in self._jobs.values():
            report = own.waiting.pop(self._next, None)
            if report is None:
                continue
            own.members_done = report.members_done
            weight = max(1, own.members - own.members_done)
            step = max(step, report.step)
            for name, value in report.means.items():
                sums[name] = sums.get(name, 0.0) + weight * value
                weights[name] = weights.get(name, 0) + weight
        row = {name: value / weights[name] for name, value in sums.items()}
        row["members_done"] = float(sum(own.members_done for own in self._jobs.values()))
        row["epoch"] = self._next
        self._last = self._before + step
        for logger in self._loggers:
            logger.log_metrics(row, self._last)
            logger.save()
