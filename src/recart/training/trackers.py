"""Experiment trackers: where metrics go while members train, and what an evaluation found."""

from __future__ import annotations

import importlib.util
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, final

from omegaconf import DictConfig

from recart.contracts import Member
from recart.problems import InputError, Problem
from recart.training.csv_metrics import CsvMetrics
from recart.training.epoch_means import EpochMeans
from recart.training.epoch_reports import EpochWatcher
from recart.training.redactor import redact, redact_metrics, redact_rows
from recart.training.tensorboard_events import EventFile
from recart.training.tracker_thread import Aside, aside

__all__ = [
    "Configuration",
    "CsvTracker",
    "Table",
    "TensorBoardTracker",
    "Tracked",
    "Tracker",
    "compare",
    "in_group",
    "record",
    "tracked",
    "tracking",
]

_GROUP: Final = "group.json"

Table = Sequence[Mapping[str, float | str]]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One of several configurations that are compared: its own values, and its scores."""

    values: Mapping[str, float | str]
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """A run as trackers may know it.

    Attributes
    ----------
    folder
        Of the run's logs.
    settings
        The configuration, redacted.
    group
        A random word that all that is tracked of this run has in common.
    members
        By name; of each, trackers are told its fold, repeat, seed and settings.
    say
        Given a line on what a tracker could not do.
    jobs
        By name, what trackers are told of jobs that are no list of members.
    kind
        What tables are of: an `evaluation`, a `sweep`.
    part
        Which run of a sweep it is; empty where it is none.
    """

    folder: Path
    settings: Mapping[str, Any]
    group: str
    members: Mapping[str, Member] = field(default_factory=dict)
    say: Callable[[str], None]
    jobs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    kind: str = "evaluation"
    part: str = ""

    def places_of(self, job: str) -> dict[str, Any]:
        """Fold, repeat, seed and settings of the member of a job, or lists of them."""
        if job in self.jobs:
            return dict(self.jobs[job])
        members = [self.members[name] for name in job.split(", ") if name in self.members]
        found: dict[str, list[Any]] = {}
        for member in members:
            settings = {k: v for k, v in vars(member.settings).items() if v is not None}
            row = {"fold": member.fold, "repeat": member.repeat, "seed": member.seed, **settings}
            for name, value in row.items():
                found.setdefault(name, []).append(value)
        return {name: own[0] if len(members) == 1 else own for name, own in found.items()}


class Tracker(ABC):
    """Follows the trainings of one run, and takes in what its evaluation found."""

    limit: float = 10.0
    """Seconds that a run waits at most, at its end, for what was tracked to be written."""

    def check(self) -> None:  # noqa: B027 -- most have nothing that could be amiss
        """Refuse, before anything is trained, what a user has to mend.

        Raises
        ------
        InputError
            If something is not installed, or an account is missing.
        """

    @abstractmethod
    def follow(self, run: Tracked) -> AbstractContextManager[EpochWatcher]:
        """A watcher of epochs; it is entered, called and left in one thread."""

    @abstractmethod
    def record(self, run: Tracked, tables: Mapping[str, Table]) -> None:
        """Take in the tables of an evaluation, redacted already.

        `metrics` has a row a model; tables named `curve_<kind>` have a point a row.
        """

    def compare(self, run: Tracked, tried: Sequence[Configuration]) -> None:  # noqa: B027
        """Take in configurations, redacted already, where runs are set beside each other."""


def tracked(
    folder: Path,
    config: DictConfig,
    members: Mapping[str, Member],
    say: Callable[[str], None],
) -> Tracked:
    """The run whose logs lie in `folder`.

    The configuration passes the redactor here: no tracker gets to see the original.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _GROUP
    if not path.exists():
        path.write_text(json.dumps({"group": secrets.token_hex(4)}))
    own = json.loads(path.read_text())
    return Tracked(
        folder=folder,
        settings=redact(config),
        group=str(own["group"]),
        members=members,
        say=say,
        part=str(own.get("part", "")),
    )


def in_group(folder: Path, group: str, part: str) -> None:
    """Let what will be tracked of the run whose logs lie in `folder` belong to a sweep's group."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _GROUP).write_text(json.dumps({"group": group, "part": part}))


@contextmanager
def tracking(trackers: Mapping[str, Tracker], run: Tracked) -> Iterator[list[EpochWatcher]]:
    """A watcher for each tracker, closed at the end whatever happens.

    Each works in a thread of its own, so that one that hangs or fails holds up nothing.

    Raises
    ------
    InputError
        If a tracker lacks what a user has to provide.
    """
    for tracker in trackers.values():
        tracker.check()
    with ExitStack() as stack:
        watchers: list[EpochWatcher] = []
        for name, tracker in trackers.items():
            aside = Aside(name, tracker.follow(run), run.say, tracker.limit)
            stack.callback(aside.close)
            watchers.append(aside)
        yield watchers


def record(
    trackers: Mapping[str, Tracker],
    run: Tracked,
    tables: Mapping[str, Table],
    words: Collection[str],
) -> None:
    """Give the tables of an evaluation to each tracker; one that fails or hangs is named.

    The tables pass the redactor here; `words` are those of recart's own that they may hold.
    """
    harmless = {name: redact_rows(rows, words) for name, rows in tables.items()}
    for name, tracker in trackers.items():
        aside(name, partial(tracker.record, run, harmless), run.say, tracker.limit)


def compare(trackers: Mapping[str, Tracker], run: Tracked, tried: Sequence[Configuration]) -> None:
    """Give configurations and their scores to each tracker; their values pass the redactor here."""
    harmless = [
        Configuration(values=redact_rows([own.values], ())[0], scores=redact_metrics(own.scores))
        for own in tried
    ]
    for name, tracker in trackers.items():
        aside(name, partial(tracker.compare, run, harmless), run.say, tracker.limit)


@final
class CsvTracker(Tracker):
    """Writes `csv/version_<n>/metrics.csv`; a run that goes on adds a version."""

    @contextmanager
    def follow(self, run: Tracked) -> Iterator[EpochWatcher]:
        """Rows are means over all members; the configuration stands in the run's folder."""
        log = CsvMetrics(run.folder / "csv")
        try:
            yield EpochMeans([log])
        finally:
            log.save()

    def record(self, run: Tracked, tables: Mapping[str, Table]) -> None:
        """Nothing: the evaluation's own tables stand in the run's folder."""


@final
class TensorBoardTracker(Tracker):
    """Writes event files to `tensorboard/version_<n>`."""

    def check(self) -> None:
        """TensorBoard writes the files itself.

        Raises
        ------
        InputError
            If it is not installed.
        """
        if importlib.util.find_spec("tensorboard") is None:
            problem = Problem(
                code="E-LOG-001",
                what="TensorBoard is not installed",
                mend="pip install tensorboard, or use logger=csv",
            )
            raise InputError([problem])

    @contextmanager
    def follow(self, run: Tracked) -> Iterator[EpochWatcher]:
        """Scalars are means over all members."""
        log = EventFile(run.folder / "tensorboard")
        try:
            yield EpochMeans([log])
        finally:
            log.close()

    def record(self, run: Tracked, tables: Mapping[str, Table]) -> None:
        """The numbers of each model, and its curves point by point."""
        log = EventFile(run.folder / "tensorboard")
        try:
            for row in tables.get("metrics", ()):
                name = f"evaluation/{row['model']}"
                numbers = {f"{name}/{k}": v for k, v in row.items() if isinstance(v, float)}
                log.log_metrics(numbers)
            for table, rows in tables.items():
                if table.startswith("curve_"):
                    for step, row in enumerate(rows):
                        own = {f"{table}/{k}": v for k, v in row.items() if isinstance(v, float)}
                        log.log_metrics(own, step)
        finally:
            log.close()
