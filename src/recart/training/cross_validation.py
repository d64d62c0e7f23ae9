"""Train every member of a cross-validation that is not there yet: encoder first, then head."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recart.contracts import Member
from recart.data.bags import Bags
from recart.data.features import bind
from recart.data.store import CohortStore
from recart.training.bag_latents import bag_latents
from recart.training.heads import FittedHead, Head
from recart.training.jobs import (
    Recipes,
    TrainedEncoder,
    TrainerFactory,
    labelled_bags,
    restore_stack,
    train_encoders,
)
from recart.training.member_file import member_path, save_member

__all__ = ["CrossValidation"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """A cross-validation over one cohort.

    Held-out patients of a member are read by nothing here: neither features, nor encoder, nor
    head. `extras` (n, f) are bag features that are computed inside each patient.
    """

    store: CohortStore
    bags: Bags
    extras: pd.DataFrame
    members: Sequence[Member]
    recipes: Recipes
    head: Head
    folder: Path

    def missing(self) -> list[Member]:
        """Members whose file is not there yet."""
        return [m for m in self.members if not member_path(self.folder, m.name).exists()]

    def run(
        self,
        trainer_factory: TrainerFactory,
        members_per_job: int | None,
        progress: Callable[[str], None],
    ) -> None:
        """Train what is missing, job by job; a member's file appears when it is finished."""
        missing = self.missing()
        if len(missing) < len(self.members):
            progress(f"{len(self.members) - len(missing)} members are there already")
        size = members_per_job or max(1, len(missing))
        jobs = [missing[i : i + size] for i in range(0, len(missing), size)]
        for number, job in enumerate(jobs, start=1):
            progress(f"job {number} of {len(jobs)}: {len(job)} members")
            encoders = train_encoders(job, self.store, self.bags, self.recipes, trainer_factory)
            for encoder in encoders:
                head = self._fit_head(encoder)
                path = member_path(self.folder, encoder.member.name)
                save_member(path, encoder, head, list(self.store.patients.index))
            progress(f"job {number} of {len(jobs)}: heads fitted, members saved")

    def _fit_head(self, encoder: TrainedEncoder) -> FittedHead:
        member = encoder.member
        stack = restore_stack(self.recipes.model, encoder.features, encoder.state)
        rows = labelled_bags(self.bags, (*member.train, *member.validation))
        bound = bind(encoder.features, self.store)
        seen = bag_latents(stack, bound, self.store, self.bags, rows, self.extras)
        labels = self.bags.table["label"].to_numpy()[rows].astype(np.int64)
        head = self.head.fit(seen, labels, member.seed)
        logger.debug("head of %s fitted on %d bags", member.name, len(rows))
        return head
