"""Trains one member of a run again, by the way that the run took, on a cohort that was changed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, final

from omegaconf import DictConfig

from recart.config.build import build
from recart.contracts import Member
from recart.training.checkpoints import load_checkpoint
from recart.training.cohort_setup import PreparedCohort
from recart.training.epoch_reports import EpochReport
from recart.training.heads import Head
from recart.training.jobs import Recipes
from recart.training.launch import recipes
from recart.training.member_configuration import member_config, own_values
from recart.training.member_file import LoadedMember, load_member, member_path
from recart.training.member_job import MemberJob, Trainers
from recart.training.readouts import build_head
from recart.training.run_directory import RunDirectory
from recart.training.shared_store import SharedStore
from recart.training.trainer import TrainerSettings

__all__ = ["MadeBy", "Retrained", "Retraining", "Train", "in_cohort"]


class Retrained(NamedTuple):
    """A member as it is used, and the content of its file."""

    member: LoadedMember
    content: dict[str, Any]


class Train(Protocol):
    """Trains a member, whose patients are codes of this cohort."""

    def __call__(self, cohort: PreparedCohort, member: Member) -> Retrained:
        """Train, and read back what was written."""


class MadeBy(NamedTuple):
    """What makes a member."""

    recipes: Recipes
    head: Head


@final
@dataclass(frozen=True, kw_only=True)
class Retraining:
    """One member at a time through `MemberJob`, alone in its stack, on one CPU.

    A CPU gives the same bytes for the same numbers; a graphics card need not. `folder` takes the
    member's file until it has been read. `own` says of members, by name, how they are made where a
    sweep has chosen for each fold; members of one configuration share the object.
    """

    recipes: Recipes
    head: Head
    settings: TrainerSettings
    folder: Path
    own: Mapping[str, MadeBy] = field(default_factory=dict)

    @classmethod
    def of(cls, run: RunDirectory, epochs: int) -> Retraining:
        """The recipes of the run and of members with their own, with at most `epochs` epochs."""
        made, settings = _made_by(run.config, epochs), build(run.config.trainer)
        alike: dict[str, MadeBy] = {}
        own: dict[str, MadeBy] = {}
        for name, values in own_values(run.path).items():
            if values:
                key = json.dumps(values, sort_keys=True)
                if key not in alike:
                    alike[key] = _made_by(member_config(run.config, values), epochs)
                own[name] = alike[key]
        return cls(
            recipes=made.recipes,
            head=made.head,
            settings=replace(settings, accelerator="cpu", devices=1, precision="32-true"),
            folder=run.path,
            own=own,
        )

    def made_by(self, name: str) -> MadeBy:
        """How the member of this name is made."""
        return self.own.get(name) or MadeBy(self.recipes, self.head)

    def unlike(self, members: Sequence[Member]) -> list[Member]:
        """The first member of each configuration."""
        first: dict[int, Member] = {}
        for member in members:
            first.setdefault(id(self.own.get(member.name)), member)
        return list(first.values())

    def __call__(self, cohort: PreparedCohort, member: Member) -> Retrained:
        """Train `member`; nothing stays in the folder."""
        made = self.made_by(member.name)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".audit-") as name:
            place = Path(name)
            work = MemberJob(
                members=[member],
                shared=SharedStore(cohort.store, place),
                bags=cohort.bags,
                extras=cohort.extras,
                recipes=made.recipes,
                head=made.head,
                trainers=Trainers(settings=self.settings, callbacks=[], folder=place),
                folder=place,
            )
            work(_ignored)
            path = member_path(place, member.name)
            loaded = load_member(path, made.recipes.model, made.head)
            return Retrained(loaded, load_checkpoint(path))


def _made_by(config: DictConfig, epochs: int) -> MadeBy:
    made = recipes(config)
    training = replace(
        made.training,
        epochs=min(epochs, made.training.epochs),
        warmup_epochs=min(epochs, made.training.warmup_epochs),
    )
    return MadeBy(replace(made, training=training), build_head(config))


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
