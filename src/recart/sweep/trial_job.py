"""The work of one job of a sweep: one encoder in one outer fold, and the trials that share it.

A trial's score is its head's log loss over inner folds of the outer fold's development patients:
each of them is judged by a head, strengths and a slope that saw no label of that patient. The
encoder is label-free and sees the cells, never the labels, of all development patients, as it will
when it is used; so do the encoders of all trials alike. What this could favour is a configuration
whose encoder remembers its cells, and what it saves is an encoder for each inner fold. The outer
score is untouched by it: an outer fold's held-out patients are read by nothing here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pandas as pd
from torch import Tensor

from recart.contracts import Member
from recart.data.bags import Bags
from recart.data.features import Features
from recart.sweep.scores import TrialScore, write_score
from recart.training.endpoints import endpoint_of
from recart.training.executors.executor import Report
from recart.training.head_fitting import DevelopmentBags, development_bags, save_fitted
from recart.training.head_problems import log_losses
from recart.training.heads import FittedHead, Head
from recart.training.jobs import Recipes, TrainedEncoder, train_encoders
from recart.training.member_file import load_encoder
from recart.training.member_job import Trainers
from recart.training.shared_store import SharedStore
from recart.training.trainer import quiet_lightning

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from recart.sweep.rungs import Rungs

__all__ = ["Fit", "TrialJob", "Watch", "trial_path"]


def trial_path(folder: Path, fold: str, trial: int) -> Path:
    """Where the member of a trial lies in the sweep's folder."""
    return folder / "members" / fold / f"{trial:05d}.ckpt"


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A trial's number, and the head that it fits to the job's encoder."""

    trial: int
    head: Head


@dataclass(frozen=True, kw_only=True)
class Watch:
    """After which numbers of epochs trials are looked at, and the highest loss that may go on."""

    epochs: Sequence[int] = ()
    bars: Mapping[int, float] = field(default_factory=dict)


@final
@dataclass(frozen=True, kw_only=True)
class TrialJob:
    """Trains the encoder of `member`, or takes it from the file `donor`; fits and scores all heads.

    Of each trial the member's file appears in `folder`, then its score. Held-out patients of the
    member are read by nothing here.
    """

    member: Member
    fits: Sequence[Fit]
    recipes: Recipes
    donor: Path | None
    watch: Watch
    shared: SharedStore
    bags: Bags
    extras: pd.DataFrame
    trainers: Trainers
    folder: Path

    def __call__(self, report: Report) -> None:
        """Train, fit, save; `report` is given an `EpochReport` after each epoch."""
        fold = self.member.name
        try:
            encoder, rungs = self._encoder(report)
        except FloatingPointError as error:
            for fit in self.fits:
                self._failed(fit, error)
            return
        development = self._development(encoder)
        for place, fit in enumerate(self.fits):
            curve = {} if rungs is None else rungs.curves[place]
            if rungs is not None and rungs.pruned[place]:
                pruned = TrialScore(trial=fit.trial, fold=fold, state="pruned", curve=curve)
                write_score(self.folder, pruned)
                continue
            head = fit.head.fit(development.seen, development.labels, self.member.seed)
            if not math.isfinite(head.inner_loss):
                self._failed(fit, FloatingPointError("the inner loss is not finite"))
                continue
            path = trial_path(self.folder, fold, fit.trial)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_fitted(path, encoder, head, development, self.bags, self.shared.store)
            scores = {"inner_loss": head.inner_loss, "encoder_loss": float(encoder.best_loss)}
            score = TrialScore(
                trial=fit.trial,
                fold=fold,
                state="complete",
                scores=scores,
                curve=curve,
                losses=self._losses(head, development),
            )
            write_score(self.folder, score)

    def _encoder(self, report: Report) -> tuple[TrainedEncoder, Rungs | None]:
        if self.donor is not None:
            return load_encoder(self.donor, self.member), None
        from recart.sweep.rungs import Rungs
        from recart.training.reporting_logger import ReportingLogger

        own, rungs = self.trainers, None
        if self.watch.epochs:
            rungs = Rungs(self.watch.epochs, self.watch.bars, len(self.fits), self._look)

        def make_trainer(epochs: int) -> pl.Trainer:
            callbacks: list[Any] = copy.deepcopy(list(own.callbacks))
            if rungs is not None:
                callbacks.append(rungs)
            return own.settings.make(epochs, [ReportingLogger(report)], callbacks, own.folder)

        with quiet_lightning():
            encoders = train_encoders(
                [self.member], self.shared.store, self.bags, self.recipes, make_trainer
            )
        return encoders[0], rungs

    def _look(self, features: Features, state: Mapping[str, Tensor], epochs: int) -> list[float]:
        """Inner loss of each trial with the encoder as it is after some epochs."""
        encoder = TrainedEncoder(
            member=self.member,
            features=features,
            state=dict(state),
            best_epoch=epochs,
            best_loss=math.nan,
            history=[],
        )
        seen, labels = self._development(encoder)
        return [fit.head.fit(seen, labels, self.member.seed).inner_loss for fit in self.fits]

    def _development(self, encoder: TrainedEncoder) -> DevelopmentBags:
        model, store = self.recipes.model, self.shared.store
        return development_bags(encoder, model, store, self.bags, self.extras)

    def _losses(self, head: FittedHead, development: DevelopmentBags) -> list[float | None]:
        """Of each development bag, where the endpoint is response or none."""
        if endpoint_of(self.bags).kind != "binary":
            return []
        losses = log_losses(np.asarray(head.inner_logits), development.labels)
        return [float(own) if math.isfinite(own) else None for own in losses]

    def _failed(self, fit: Fit, error: FloatingPointError) -> None:
        score = TrialScore(
            trial=fit.trial, fold=self.member.name, state="failed", reason=str(error)
        )
        write_score(self.folder, score)
