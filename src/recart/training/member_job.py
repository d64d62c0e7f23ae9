"""The work of one job: train a stack of members, fit their heads, write their files."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import pandas as pd

from recart.contracts import Member
from recart.data.bags import Bags
from recart.training.executors.executor import Report
from recart.training.head_fitting import development_bags, save_fitted
from recart.training.heads import Head
from recart.training.jobs import Recipes, TrainedEncoder, train_encoders
from recart.training.member_file import member_path
from recart.training.shared_store import SharedStore
from recart.training.states import States
from recart.training.taken_encoders import TakenEncoders
from recart.training.trainer import TrainerSettings, quiet_lightning

if TYPE_CHECKING:
    import lightning.pytorch as pl

__all__ = ["MemberJob", "Trainers"]


@dataclass(frozen=True, kw_only=True)
class Trainers:
    """How trainers are made; each gets its own copies of the callbacks. `folder` is the run's.

    `states` is where trainings can be taken up again inside; None begins each from the start.
    """

    settings: TrainerSettings
    callbacks: Sequence[pl.Callback]
    folder: Path
    states: States | None = None


@final
@dataclass(frozen=True, kw_only=True)
class MemberJob:
    """Trains `members` in one stack; a member's file appears when it is finished.

    Held-out patients of a member are read by nothing here: neither features, nor encoder, nor
    head, nor decision rule. `extras` (n, f) are bag features that are computed inside each patient.
    Encoders that are `taken` are not trained.
    """

    members: Sequence[Member]
    shared: SharedStore
    bags: Bags
    extras: pd.DataFrame
    recipes: Recipes
    head: Head
    trainers: Trainers
    folder: Path
    taken: TakenEncoders | None = None

    def __call__(self, report: Report) -> None:
        """Train, fit, save; `report` is given an `EpochReport` after each epoch."""
        store, states = self.shared.store, self.trainers.states
        encoders = self._trained(report) if self.taken is None else self.taken.load(self.members)
        development = [
            development_bags(encoder, self.recipes.model, store, self.bags, self.extras)
            for encoder in encoders
        ]
        heads = self.head.fit_stack(
            [own.seen for own in development],
            [own.labels for own in development],
            [member.seed for member in self.members],
        )
        for encoder, head, own in zip(encoders, heads, development, strict=True):
            path = member_path(self.folder, encoder.member.name)
            if not path.exists():  # else of a job that was killed as it wrote them
                save_fitted(path, encoder, head, own, self.bags, store)
        if states is not None:
            states.forget(self.members)

    def _trained(self, report: Report) -> list[TrainedEncoder]:
        from recart.training.reporting_logger import ReportingLogger

        own = self.trainers

        def make_trainer(epochs: int) -> pl.Trainer:
            callbacks = copy.deepcopy(list(own.callbacks))
            return own.settings.make(epochs, [ReportingLogger(report)], callbacks, own.folder)

        with quiet_lightning():
            return train_encoders(
                self.members, self.shared.store, self.bags, self.recipes, make_trainer, own.states
            )
