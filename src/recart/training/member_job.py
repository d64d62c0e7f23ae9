"""The work of one job: train a stack of members, fit their heads, write their files."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pandas as pd

from recart.contracts import Member
from recart.data.bags import Bags
from recart.data.features import bind
from recart.data.store import CohortStore
from recart.training.bag_latents import bag_latents
from recart.training.decision_rule import fit_decision_rule
from recart.training.endpoints import endpoint_of
from recart.training.executors.executor import Report
from recart.training.heads import BagLatents, Head
from recart.training.jobs import (
    Recipes,
    TrainedEncoder,
    labelled_bags,
    restore_stack,
    train_encoders,
)
from recart.training.member_file import member_path, save_member
from recart.training.shared_store import SharedStore
from recart.training.states import States
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
    """

    members: Sequence[Member]
    shared: SharedStore
    bags: Bags
    extras: pd.DataFrame
    recipes: Recipes
    head: Head
    trainers: Trainers
    folder: Path

    def __call__(self, report: Report) -> None:
        """Train, fit, save; `report` is given an `EpochReport` after each epoch."""
        from recart.training.reporting_logger import ReportingLogger

        def make_trainer(epochs: int) -> pl.Trainer:
            own = self.trainers
            callbacks = copy.deepcopy(list(own.callbacks))
            return own.settings.make(epochs, [ReportingLogger(report)], callbacks, own.folder)

        store, states = self.shared.store, self.trainers.states
        with quiet_lightning():
            encoders = train_encoders(
                self.members, store, self.bags, self.recipes, make_trainer, states
            )
        seen, labels = [], []
        for encoder in encoders:
            own, of_bags = self._seen_by(encoder, store)
            seen.append(own)
            labels.append(of_bags)
        heads = self.head.fit_stack(seen, labels, [member.seed for member in self.members])
        for encoder, head, own, of_bags in zip(encoders, heads, seen, labels, strict=True):
            face = endpoint_of(self.bags).binary(of_bags)
            known = face >= 0
            rule = fit_decision_rule(head.inner_logits[known], face[known], own.patients[known])
            path = member_path(self.folder, encoder.member.name)
            if not path.exists():  # else of a job that was killed as it wrote them
                save_member(path, encoder, head, rule, list(store.patients.index))
        if states is not None:
            states.forget(self.members)

    def _seen_by(
        self, encoder: TrainedEncoder, store: CohortStore
    ) -> tuple[BagLatents, np.ndarray[Any, Any]]:
        """Development bags under one member, and their labels."""
        member = encoder.member
        stack = restore_stack(self.recipes.model, encoder.features, encoder.state)
        rows = labelled_bags(self.bags, (*member.train, *member.validation))
        bound = bind(encoder.features, store)
        labels = endpoint_of(self.bags).targets_of(self.bags, rows)
        return bag_latents(stack, bound, store, self.bags, rows, self.extras), labels
