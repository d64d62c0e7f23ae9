"""What a user sees while it runs: lines for steps, one bar for the epochs of all members."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from recart.training.epoch_reports import EpochReport, EpochWatcher

__all__ = ["CONSOLE", "TrainingProgress", "say"]

CONSOLE = Console(stderr=True, soft_wrap=True)
_SHOWN = ("rna", "protein", "kl_z", "receptor")


def say(message: str) -> None:
    """One line to the terminal, with the time."""
    CONSOLE.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {message}", highlight=False)


@final
class TrainingProgress(EpochWatcher):
    """One bar over the epochs of all members, wherever they train.

    It shows members done, the mean loss terms on inner-validation patients, epochs a second, time
    left. Where there is no terminal, a line says the same after every `every` epochs of all
    members, counted as a mean over them. Where encoders are not trained, it counts members.
    """

    def __init__(self, every: int) -> None:
        if every < 1:
            raise ValueError(f"every={every}: epochs between lines, at least 1")
        self.every = every
        self._members: dict[str, int] = {}
        self._epochs, self._counted = 0, "epochs"
        self._trained: dict[str, int] = {}  # epochs times members, by job
        self._done: dict[str, int] = {}
        self._terms: dict[str, dict[str, float]] = {}
        self._spent_on = 0
        self._lines = 0
        self._ended = 0
        self._started = 0.0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def start(self, members: Mapping[str, int], epochs: int) -> None:
        """Open the bar."""
        self._members = dict(members)
        self._epochs, self._counted = (epochs, "epochs") if epochs else (1, "members")
        self._trained = dict.fromkeys(members, 0)
        self._done = dict.fromkeys(members, 0)
        self._terms, self._spent_on, self._lines, self._ended = {}, 0, 0, 0
        self._started = time.monotonic()
        if not CONSOLE.is_terminal:
            return
        whole = Column(no_wrap=True, min_width=12)  # the bar gives way, not the numbers
        self._bar = Progress(
            TextColumn(
                f"{self._counted} {{task.completed:.0f}}/{{task.total:.0f}}", table_column=whole
            ),
            BarColumn(bar_width=None),
            TextColumn("{task.description}", table_column=whole),
            console=CONSOLE,
        )
        self._bar.start()
        self._task = self._bar.add_task("training", total=self._total)

    def advance(self, job: str, report: EpochReport) -> None:
        """Go on by one epoch of a job."""
        members, done = self._members[job], report.members_done
        self._spent_on += members - self._done[job]
        self._done[job] = done
        # a member that has stopped needs none of its further epochs
        self._trained[job] = done * self._epochs + (members - done) * (report.epoch + 1)
        means = report.means
        self._terms[job] = {
            name: means[f"validation/{name}"] for name in _SHOWN if means.get(f"validation/{name}")
        }
        self._show()

    def end(self, job: str) -> None:
        """Count the job as done: nothing more of it is to be waited for."""
        self._trained[job] = self._members[job] * self._epochs
        self._done[job] = self._members[job]
        self._ended += 1
        if len(self._terms) > 1:
            self._terms.pop(job, None)  # the mean is over those that train
        self._show()

    def stop(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    @property
    def _total(self) -> int:
        return sum(self._members.values()) * self._epochs

    def _show(self) -> None:
        trained = sum(self._trained.values())
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=trained, description=self._text(trained))
            return
        whole = self._counted == "members"  # a line for each, as each takes long
        lines = trained if whole else trained // (self.every * sum(self._members.values()))
        ended = self._ended == len(self._members)
        if ended or (lines > self._lines and trained < self._total):
            self._lines = lines
            say(f"{self._counted} {trained}/{self._total}  {self._text(trained)}".rstrip())

    def _text(self, trained: int) -> str:
        done, members = sum(self._done.values()), sum(self._members.values())
        parts = [] if self._counted == "members" else [f"{done}/{members} members done"]
        for name in _SHOWN:
            values = [terms[name] for terms in self._terms.values() if name in terms]
            if values:
                parts.append(f"{name} {sum(values) / len(values):.3g}")
        spent = time.monotonic() - self._started
        if spent > 0 and self._spent_on:
            rate = self._spent_on / spent
            parts += [
                f"{rate:.3g} epochs/s",
                f"at most {(self._total - trained) / rate:.0f} s left",
            ]
        return "  ".join(parts)
