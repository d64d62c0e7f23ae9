"""One generation of all folds as jobs: trials that share an encoder are one job."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import final

import pandas as pd

from recart.data.bags import Bags
from recart.problems import InputError, Problem
from recart.sweep.pruners import Pruner
from recart.sweep.search import Search, Trial
from recart.sweep.trial_job import TrialJob, Watch, trial_path
from recart.training.cross_validation import JobError
from recart.training.epoch_reports import EpochReport, EpochWatcher
from recart.training.executors.executor import Executor, Failure, Job
from recart.training.head_start import MEMBER_IMPORTS
from recart.training.member_job import Trainers
from recart.training.progress import say
from recart.training.shared_store import SharedStore

__all__ = ["Rounds"]


@final
@dataclass(frozen=True, kw_only=True)
class Rounds:
    """Runs what is missing of the present generation of every fold, all jobs in one pool.

    `donors` says whether a later trial may take the encoder of an earlier one from its file.
    """

    shared: SharedStore
    bags: Bags
    extras: pd.DataFrame
    pruner: Pruner
    trainers: Trainers
    donors: bool
    folder: Path

    def run(
        self, searches: Sequence[Search], executor: Executor, watchers: Sequence[EpochWatcher]
    ) -> None:
        """Run trials without a score.

        Raises
        ------
        InputError
            If a job died: names its trials and how. All others have run by then.
        """
        jobs = [
            job for search in searches for job in self._jobs(search, search.missing(), prune=True)
        ]
        self._run(jobs, executor, watchers)

    def complete(
        self, searches: Sequence[Search], executor: Executor, watchers: Sequence[EpochWatcher]
    ) -> None:
        """Fit those again that were chosen or are trial 0, and whose file is gone."""
        jobs = []
        for search in searches:
            wanted = {0, search.chosen or 0}
            complete = {own.trial for own in search.scores if own.state == "complete"}
            lost = [
                search.trial(number)
                for number in sorted(wanted & complete)
                if not trial_path(self.folder, search.member.name, number).exists()
            ]
            jobs += self._jobs(search, lost, prune=False)
        self._run(jobs, executor, watchers)

    def _jobs(self, search: Search, trials: Sequence[Trial], *, prune: bool) -> list[Job]:
        """One job for each encoder."""
        alike: dict[str, list[Trial]] = {}
        for trial in trials:
            alike.setdefault(trial.encoder, []).append(trial)
        return [
            self._job(search, encoder, own, prune=prune and 0 not in [t.number for t in own])
            for encoder, own in alike.items()
        ]

    def _job(self, search: Search, encoder: str, trials: Sequence[Trial], *, prune: bool) -> Job:
        fold = search.member.name
        curves = [own.curve for own in search.scores if own.state == "complete"]
        # trial 0 is the configuration as it stands, which is trained to its end in any case
        bars = self.pruner.bars(curves) if prune else {}
        work = TrialJob(
            member=search.member,
            fits=[own.fit for own in trials],
            recipes=trials[0].recipes,
            donor=search.donor(encoder, self.donors),
            watch=Watch(epochs=self.pruner.epochs, bars=bars),
            shared=self.shared,
            bags=self.bags,
            extras=self.extras,
            trainers=self.trainers,
            folder=self.folder,
        )
        heads = {type(own.head).__module__ for own in work.fits}
        name = f"{fold} trials {', '.join(str(own.number) for own in trials)}"
        return Job(name=name, work=work, imports=(*MEMBER_IMPORTS, *sorted(heads)))

    def _run(
        self, jobs: Sequence[Job], executor: Executor, watchers: Sequence[EpochWatcher]
    ) -> None:
        if not jobs:
            return
        at_once = min(executor.places, len(jobs))
        works = [job.work for job in jobs if isinstance(job.work, TrialJob)]
        fits = sum(len(own.fits) for own in works)
        say(f"{fits} fits on {len(jobs)} encoders, {at_once} at a time")
        epochs = max(own.recipes.training.epochs for own in works)
        failures: dict[str, Failure] = {}

        def advance(job: Job, report: EpochReport) -> None:
            for watcher in watchers:
                watcher.advance(job.name, report)

        with ExitStack() as stack:
            for watcher in watchers:
                watcher.start({job.name: 1 for job in jobs}, epochs)
                stack.callback(watcher.stop)
            for outcome in stack.enter_context(closing(executor.run(jobs, advance))):
                for watcher in watchers:
                    watcher.end(outcome.job.name)
                if outcome.failure is not None:
                    failures[outcome.job.name] = outcome.failure
                    say(f"{outcome.job.name} failed; {outcome.failure}")
        if failures:
            traces = "\n".join(f"{name}:\n{own.trace or own}" for name, own in failures.items())
            raise InputError(
                _problem(name, failure) for name, failure in failures.items()
            ) from JobError(traces)


def _problem(name: str, failure: Failure) -> Problem:
    return Problem(
        code="E-JOB-001",
        what=f"{name} came to no end; {failure}",
        mend="mend what it says, then run the same command again with paths.run=<this sweep's "
        "folder>: it runs only the trials that are missing",
    )
