"""Train every member of a cross-validation that is not there yet, dealt into jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from recart.contracts import Member
from recart.data.bags import Bags
from recart.problems import Problem
from recart.training.atomic_files import sweep_parts
from recart.training.epoch_reports import EpochWatcher
from recart.training.executors.executor import Executor, Failure, Job
from recart.training.followed_jobs import Followed, run_followed
from recart.training.head_start import MEMBER_IMPORTS
from recart.training.heads import Head
from recart.training.jobs import Recipes
from recart.training.member_file import member_path
from recart.training.member_job import MemberJob, Trainers
from recart.training.shared_store import SharedStore
from recart.training.states import States
from recart.training.taken_encoders import TakenEncoders

__all__ = ["CrossValidation"]


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """A cross-validation over one cohort; `folder` is where the members' files go.

    Encoders that are `taken` are not trained.
    """

    shared: SharedStore
    bags: Bags
    extras: pd.DataFrame
    members: Sequence[Member]
    recipes: Recipes
    head: Head
    folder: Path
    taken: TakenEncoders | None = None

    def missing(self) -> list[Member]:
        """Members whose file is not there yet."""
        return [m for m in self.members if not member_path(self.folder, m.name).exists()]

    def run(
        self,
        size: int,
        executor: Executor,
        trainers: Trainers,
        watchers: Sequence[EpochWatcher],
        progress: Callable[[str], None],
    ) -> None:
        """Train what is missing; a member's file appears when it is finished.

        Parameters
        ----------
        size
            Members of a job; they are trained in one stack.
        executor, trainers
            Where jobs run, and what trains there.
        watchers
            Follow the epochs of all jobs.
        progress
            Given a line on what begins or has gone wrong.

        Raises
        ------
        InputError
            If a job failed: names its members and how. All others have run by then.
        """
        sweep_parts(self.folder)
        missing = self.missing()
        if len(missing) < len(self.members):
            progress(f"{len(self.members) - len(missing)} members are there already")
        stacks = self._stacks(size, trainers.states)
        at_once = min(executor.places, len(stacks))
        progress(f"{len(missing)} members in {len(stacks)} jobs, {at_once} at a time")
        followed = [
            Followed(
                job=self._job(stack, trainers),
                members=len(stack),
                files=[member_path(self.folder, member.name) for member in stack],
            )
            for stack in stacks
        ]
        epochs = self.recipes.training.epochs if self.taken is None else 0
        run_followed(followed, executor, watchers, epochs, progress, _problem)

    def _stacks(self, size: int, states: States | None) -> list[list[Member]]:
        """Members of each job: dealt from all, so that those of an earlier start are found again.

        A stack that has begun and of which some files are written already is gone on with whole,
        for its members would not be the same to the bit in another company.
        """
        missing = {member.name for member in self.missing()}
        stacks = []
        for i in range(0, len(self.members), size):
            whole = list(self.members[i : i + size])
            lacking = [member for member in whole if member.name in missing]
            begun = states is not None and states.there(whole)
            if lacking:
                stacks.append(whole if begun else lacking)
            elif begun and states is not None:  # killed between its last file and this
                states.forget(whole)
        return stacks

    def _job(self, members: Sequence[Member], trainers: Trainers) -> Job:
        """Named after its members."""
        work = MemberJob(
            members=members,
            shared=self.shared,
            bags=self.bags,
            extras=self.extras,
            recipes=self.recipes,
            head=self.head,
            trainers=trainers,
            folder=self.folder,
            taken=self.taken,
        )
        imports = (*MEMBER_IMPORTS, type(self.head).__module__)
        return Job(name=", ".join(member.name for member in members), work=work, imports=imports)


def _problem(name: str, failure: Failure) -> Problem:
    return Problem(
        code="E-JOB-001",
        what=f"members {name} were not trained; {failure}",
        mend="mend what it says, then run the same command again with paths.run=<this run's "
        "folder>: it trains only the members that are missing",
    )
