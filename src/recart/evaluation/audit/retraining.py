"""Trains one member of a run again, by the way that the run took, on a cohort that was changed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, final

from recart.config.build import build
from recart.contracts import Member
from recart.training.checkpoints import load_checkpoint
from recart.training.cohort_setup import PreparedCohort
from recart.training.epoch_reports import EpochReport
from recart.training.heads import Head
from recart.training.jobs import Recipes
from recart.training.launch import recipes
from recart.training.member_file import LoadedMember, load_member, member_path
from recart.training.member_job import MemberJob, Trainers
from recart.training.run_directory import RunDirectory
from recart.training.shared_store import SharedStore
from recart.training.trainer import TrainerSettings

__all__ = ["Retrained", "Retraining", "Train", "in_cohort"]


class Retrained(NamedTuple):
    """A member as it is used, and the content of its file."""

    member: LoadedMember
    content: dict[str, Any]


class Train(Protocol):
    """Trains a member, whose patients are codes of this cohort."""

    def __call__(self, cohort: PreparedCohort, member: Member) -> Retrained:
        """Train, and read back what was written."""


@final
@dataclass(frozen=True, kw_only=True)
class Retraining:
    """One member at a time through `MemberJob`, alone in its stack, on one CPU.

    A CPU gives the same bytes for the same numbers; a graphics card need not. `folder` takes the
    member's file until it has been read.
    """

    recipes: Recipes
    head: Head
    settings: TrainerSettings
    folder: Path

    @classmethod
    def of(cls, run: RunDirectory, epochs: int) -> Retraining:
        """The run's own recipes, with at most `epochs` epochs."""
        made, head, settings = (
            recipes(run.config),
            build(run.config.head),
            build(run.config.trainer),
        )
        training = replace(
            made.training,
            epochs=min(epochs, made.training.epochs),
            warmup_epochs=min(epochs, made.training.warmup_epochs),
        )
        return cls(
            recipes=replace(made, training=training),
            head=head,
            settings=replace(settings, accelerator="cpu", devices=1, precision="32-true"),
            folder=run.path,
        )

    def __call__(self, cohort: PreparedCohort, member: Member) -> Retrained:
        """Train `member`; nothing stays in the folder."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".audit-") as name:
            place = Path(name)
            work = MemberJob(
                members=[member],
                shared=SharedStore(cohort.store, place),
                bags=cohort.bags,
                extras=cohort.extras,
                recipes=self.recipes,
                head=self.head,
                trainers=Trainers(settings=self.settings, callbacks=[], folder=place),
                folder=place,
            )
            work(_ignored)
            path = member_path(place, member.name)
            loaded = load_member(path, self.recipes.model, self.head)
            return Retrained(loaded, load_checkpoint(path))


def in_cohort(member: Member, names: Sequence[str], cohort: PreparedCohort) -> Member:
    """The member with its patients as codes of another cohort, where they are by the same names.

    Held-out patients that the cohort lacks are left out; `names` are those of the old codes.
    """
    code_of = {name: code for code, name in enumerate(cohort.store.patients.index)}

    def there(codes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(code_of[names[code]] for code in codes if names[code] in code_of)

    return replace(
        member,
        train=there(member.train),
        validation=there(member.validation),
        held_out=there(member.held_out),
    )


def _ignored(_report: EpochReport) -> None:
    """Nobody follows these epochs."""
