"""What runs jobs: it takes them one by one and yields what became of each as it finishes."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "Elsewhere",
    "Executor",
    "Failure",
    "Job",
    "JobReport",
    "Outcome",
    "Report",
    "failure_of",
]

_LINES: Final = 5  # of an error's own words

Report = Callable[[Any], None]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A piece of work that may run anywhere.

    Attributes
    ----------
    name
        What a message calls it.
    work
        Picklable. Called with a function that sends small plain objects back while it works; what
        it returns is sent back too.
    imports
        Modules that a process for this job is best started with.
    """

    name: str
    work: Callable[[Report], Any]
    imports: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How a job ended that did not finish.

    `how` names the exception, the exit code or the signal; `said` holds the error's last lines;
    `trace` its traceback, where there is one.
    """

    how: str
    said: str = ""
    trace: str = ""

    def __str__(self) -> str:
        """In one line."""
        return f"{self.how}: {' / '.join(self.said.splitlines())}" if self.said else self.how


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a job: `value` is what it returned; `failure` is None where it finished."""

    job: Job
    value: Any = None
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """What jobs find on another machine.

    `gpus` is what each is given, also a part of one; `jobs` how many run on one machine at a time,
    at most, and share what memory is free there.
    """

    gpus: float
    jobs: int


JobReport = Callable[[Job, Any], None]


class Executor(ABC):
    """Runs jobs, a number of them at a time. A job that fails does not stop the others."""

    @property
    @abstractmethod
    def places(self) -> int:
        """How many jobs run at a time."""

    @property
    @abstractmethod
    def elsewhere(self) -> Elsewhere | None:
        """None where jobs run on this machine and may be handed its memory.

        Else they read files only: the prepared cohort, and the run's folder for what they write.
        """

    @abstractmethod
    def prepare(self, imports: Sequence[str]) -> None:
        """Begin to import, elsewhere, the modules that jobs will need; returns at once."""

    @abstractmethod
    def forget(self) -> None:
        """Stop what `prepare` has begun, whose result is not needed any more."""

    @abstractmethod
    def run(self, jobs: Iterable[Job], report: JobReport) -> Generator[Outcome]:
        """Yield what becomes of the jobs, in the order in which they end.

        Whoever stops early closes the generator: jobs that still run are then ended.

        Parameters
        ----------
        jobs
            The next one is taken when a place is free, so that it may depend on outcomes.
        report
            Called in this process with the job and with each object that it sends back.
        """


def failure_of(error: Exception) -> Failure:
    """An exception in words."""
    return Failure(
        how=type(error).__name__,
        said="\n".join(str(error).strip().splitlines()[-_LINES:]),
        trace="".join(traceback.format_exception(error)),
    )
