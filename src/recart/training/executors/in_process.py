"""Jobs in this process, one after another."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from functools import partial
from typing import final

from recart.training.executors.executor import Executor, Job, JobReport, Outcome, failure_of

__all__ = ["InProcess"]


@final
class InProcess(Executor):
    """Calls each job's work here, on as many threads as torch has.

    What is no `Exception`, an interruption or `sys.exit`, ends all of it.
    """

    @property
    def places(self) -> int:
        """One."""
        return 1

    @property
    def elsewhere(self) -> None:
        """Here."""
        return None

    def prepare(self, imports: Sequence[str]) -> None:
        """Nothing: jobs import what they need when they need it."""

    def forget(self) -> None:
        """Nothing."""

    def run(self, jobs: Iterable[Job], report: JobReport) -> Generator[Outcome]:
        """Yield what becomes of the jobs, in their order."""
        for job in jobs:
            try:
                value = job.work(partial(report, job))
            except Exception as error:
                yield Outcome(job=job, failure=failure_of(error))
            else:
                yield Outcome(job=job, value=value)
