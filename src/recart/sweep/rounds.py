"""One generation of all folds as jobs: trials that share an encoder are one job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import pandas as pd

from recart.contracts import MemberSettings
from recart.data.bags import Bags
from recart.problems import Problem
from recart.sweep.configurations import stack_key
from recart.sweep.pruners import Pruner
from recart.sweep.scores import score_path
from recart.sweep.search import Search, Trial
from recart.sweep.tracked_sweep import job_places
from recart.sweep.trial_job import TrialJob, Unit, trial_path
from recart.training.epoch_reports import EpochWatcher
from recart.training.executors.executor import Executor, Failure, Job
from recart.training.followed_jobs import Followed, run_followed
from recart.training.head_start import MEMBER_IMPORTS
from recart.training.member_job import Trainers
from recart.training.progress import say
from recart.training.shared_store import SharedStore
from recart.training.states import States

__all__ = ["Rounds"]


@final
@dataclass(frozen=True, kw_only=True)
class Rounds:
    """Runs what is missing of the present generation of every fold, all jobs in one pool.

    `places` is told of each job, before it begins, what trackers may know of it. `donors` says
    whether a later trial may take the encoder of an earlier one from its file; `stack` gives how
    many encoders whose shapes agree are trained together, of so many in all.
    """

    shared: SharedStore
    bags: Bags
    extras: pd.DataFrame
    pruner: Pruner
    trainers: Trainers
    places: dict[str, Mapping[str, Any]]
    donors: bool
    folder: Path
    stack: Callable[[int], int]

    def run(
        self, searches: Sequence[Search], executor: Executor, watchers: Sequence[EpochWatcher]
    ) -> None:
        """Run trials without a score.

        Raises
        ------
        InputError
            If a job died: names its trials and how. All others have run by then.
        """
        units = [
            unit for search in searches for unit in self._units(search, search.missing(), bars=True)
        ]
        self._run(self._jobs(units), executor, watchers)

    def complete(
        self, searches: Sequence[Search], executor: Executor, watchers: Sequence[EpochWatcher]
    ) -> None:
        """Fit those again that were chosen or are trial 0, and whose file is gone."""
        units = []
        for search in searches:
            wanted = {0, search.chosen or 0}
            complete = {own.trial for own in search.scores if own.state == "complete"}
            lost = [
                search.trial(number)
                for number in sorted(wanted & complete)
                if not trial_path(self.folder, search.member.name, number).exists()
            ]
            units += self._units(search, lost, bars=False)
        self._run(self._jobs(units), executor, watchers)

    def _units(
        self, search: Search, trials: Sequence[Trial], *, bars: bool
    ) -> list[tuple[Trial, Unit]]:
        """One for each encoder, with its first trial."""
        alike: dict[str, list[Trial]] = {}
        for trial in trials:
            alike.setdefault(trial.encoder, []).append(trial)
        curves = [own.curve for own in search.scores if own.state == "complete"]
        units = []
        for encoder, own in alike.items():
            # trial 0 is the configuration as it stands, which is trained to its end in any case
            pruned = bars and own[0].number != 0
            unit = Unit(
                member=search.member,
                fits=[trial.fit for trial in own],
                donor=search.donor(encoder, self.donors),
                bars=self.pruner.bars(curves) if pruned else {},
            )
            units.append((own[0], unit))
        return units

    def _jobs(self, units: Sequence[tuple[Trial, Unit]]) -> list[Job]:
        """Stacks of encoders whose shapes agree; those that are there already by themselves."""
        alike: dict[str, list[tuple[Trial, Unit]]] = {}
        for trial, unit in units:
            name = f"{unit.member.name} {trial.number}" if unit.donor else stack_key(trial.config)
            alike.setdefault(name, []).append((trial, unit))
        size = max(1, self.stack(sum(unit.donor is None for _, unit in units)))
        return [
            self._job(own[i : i + size]) for own in alike.values() for i in range(0, len(own), size)
        ]

    def _job(self, units: Sequence[tuple[Trial, Unit]]) -> Job:
        recipes = units[0][0].recipes
        own = [unit for _, unit in units]
        if len(units) > 1:  # what differs in a stack is each member's own
            own = [
                replace(unit, member=replace(unit.member, settings=_settings(trial)))
                for trial, unit in units
            ]
        work = TrialJob(
            units=own,
            recipes=recipes,
            rungs=self.pruner.epochs,
            shared=self.shared,
            bags=self.bags,
            extras=self.extras,
            trainers=replace(self.trainers, states=self._states(units)),
            folder=self.folder,
        )
        heads = {type(fit.head).__module__ for unit in own for fit in unit.fits}
        name = "; ".join(
            f"{unit.member.name} trials {', '.join(str(fit.trial) for fit in unit.fits)}"
            for unit in own
        )
        self.places[name] = job_places(units)
        return Job(name=name, work=work, imports=(*MEMBER_IMPORTS, *sorted(heads)))

    def _states(self, units: Sequence[tuple[Trial, Unit]]) -> States | None:
        """Where the training is taken up again inside; not where trials were looked at on the way.

        Each stack of encoders has a folder of its own: trials of a fold have the same members.
        """
        states = self.trainers.states
        if states is None or self.pruner.epochs:
            return None
        keys = [trial.encoder for trial, _ in units]
        own = f"{keys[0]}-{len(keys)}"
        return replace(
            states, folder=states.folder / own, belongs={**states.belongs, "encoders": keys}
        )

    def _run(
        self, jobs: Sequence[Job], executor: Executor, watchers: Sequence[EpochWatcher]
    ) -> None:
        if not jobs:
            return
        at_once = min(executor.places, len(jobs))
        works = [job.work for job in jobs if isinstance(job.work, TrialJob)]
        units = [unit for own in works for unit in own.units]
        fits = sum(len(unit.fits) for unit in units)
        say(f"{fits} fits on {len(units)} encoders in {len(jobs)} jobs, {at_once} at a time")
        epochs = max(own.recipes.training.epochs for own in works)
        followed = [
            Followed(job=job, members=len(own.units), files=self._files(own))
            for job, own in zip(jobs, works, strict=True)
        ]
        run_followed(followed, executor, watchers, epochs, say, _problem)

    def _files(self, work: TrialJob) -> list[Path]:
        """Scores that a job writes."""
        return [
            score_path(self.folder, unit.member.name, fit.trial)
            for unit in work.units
            for fit in unit.fits
        ]


def _settings(trial: Trial) -> MemberSettings:
    made = trial.recipes
    return MemberSettings(
        lr=made.training.lr, dropout=made.model.dropout, kl_weight=made.model.weights.kl
    )


def _problem(name: str, failure: Failure) -> Problem:
    return Problem(
        code="E-JOB-001",
        what=f"{name} came to no end; {failure}",
        mend="mend what it says, then run the same command again with paths.run=<this sweep's "
        "folder>: it runs only the trials that are missing",
    )
