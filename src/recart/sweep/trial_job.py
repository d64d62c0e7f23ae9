"""The work of one job of a sweep: encoders of outer folds, each with the trials that share it.

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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

    from recart.sweep.rungs import Watch

__all__ = ["Fit", "TrialJob", "Unit", "trial_path"]


def trial_path(folder: Path, fold: str, trial: int) -> Path:
    """Where the member of a trial lies in the sweep's folder."""
    return folder / "members" / fold / f"{trial:05d}.ckpt"


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A trial's number, and the head that it fits to the job's encoder."""

    trial: int
    head: Head


@dataclass(frozen=True, kw_only=True)
class Unit:
    """An encoder in one outer fold, and the trials that share it.

    Attributes
    ----------
    member
        The outer fold's, with settings of its own where units of a stack differ.
    fits
        The trials.
    donor
        File of an earlier trial with the same encoder; None trains it.
    bars
        The highest inner loss that may go on, by number of epochs.
    """

    member: Member
    fits: Sequence[Fit]
    donor: Path | None = None
    bars: Mapping[int, float] = field(default_factory=dict)


@final
@dataclass(frozen=True, kw_only=True)
class TrialJob:
    """Trains the encoders of `units` in one stack, fits and scores all their heads.

    Of each trial the member's file appears in `folder`, then its score. Held-out patients of a
    member are read by nothing here. `rungs` are numbers of epochs after which trials are looked at.
    """

    units: Sequence[Unit]
    recipes: Recipes
    rungs: Sequence[int]
    shared: SharedStore
    bags: Bags
    extras: pd.DataFrame
    trainers: Trainers
    folder: Path

    def __call__(self, report: Report) -> None:
        """Train, fit, save; `report` is given an `EpochReport` after each epoch."""
        trained = [unit for unit in self.units if unit.donor is None]
        try:
            encoders, watches = self._train(trained, report) if trained else ([], [])
        except FloatingPointError as error:
            if len(trained) > 1:  # one of a stack is no longer finite: the others go on alone
                for unit in self.units:
                    replace(self, units=[unit])(report)
                return
            for fit in trained[0].fits:
                self._failed(trained[0], fit, error)
            return
        for unit, encoder, watch in zip(trained, encoders, watches, strict=True):
            self._score(unit, encoder, watch)
        if trained and self.trainers.states is not None:
            self.trainers.states.forget([unit.member for unit in trained])
        for unit in self.units:
            if unit.donor is not None:
                self._score(unit, load_encoder(unit.donor, unit.member), None)

    def _train(
        self, units: Sequence[Unit], report: Report
    ) -> tuple[list[TrainedEncoder], list[Watch | None]]:
        from recart.sweep.rungs import Rungs, Watch
        from recart.training.reporting_logger import ReportingLogger

        own = self.trainers
        watches: list[Watch | None] = [None] * len(units)
        further: list[Any] = []
        if self.rungs:
            watched = [Watch(self._look(unit), unit.bars, len(unit.fits)) for unit in units]
            watches, further = list(watched), [Rungs(self.rungs, watched)]

        def make_trainer(epochs: int) -> pl.Trainer:
            callbacks = [*copy.deepcopy(list(own.callbacks)), *further]
            return own.settings.make(epochs, [ReportingLogger(report)], callbacks, own.folder)

        members = [unit.member for unit in units]
        with quiet_lightning():
            encoders = train_encoders(
                members, self.shared.store, self.bags, self.recipes, make_trainer, own.states
            )
        return encoders, watches

    def _score(self, unit: Unit, encoder: TrainedEncoder, watch: Watch | None) -> None:
        fold = unit.member.name
        development = self._development(encoder)
        for place, fit in enumerate(unit.fits):
            curve = {} if watch is None else watch.curves[place]
            if watch is not None and watch.pruned[place]:
                pruned = TrialScore(trial=fit.trial, fold=fold, state="pruned", curve=curve)
                write_score(self.folder, pruned)
                continue
            head = fit.head.fit(development.seen, development.labels, unit.member.seed)
            if not math.isfinite(head.inner_loss):
                self._failed(unit, fit, FloatingPointError("the inner loss is not finite"))
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

    def _look(
        self, unit: Unit
    ) -> Callable[[Features, Mapping[str, Tensor], int, Sequence[int]], list[float]]:
        """What gives the inner loss of some trials with the encoder as it is after some epochs."""

        def look(
            features: Features, state: Mapping[str, Tensor], epochs: int, trials: Sequence[int]
        ) -> list[float]:
            encoder = TrainedEncoder(
                member=unit.member,
                features=features,
                state=dict(state),
                best_epoch=epochs,
                best_loss=math.nan,
                history=[],
            )
            seen, labels = self._development(encoder)
            heads = [unit.fits[trial].head for trial in trials]
            return [head.fit(seen, labels, unit.member.seed).inner_loss for head in heads]

        return look

    def _development(self, encoder: TrainedEncoder) -> DevelopmentBags:
        model, store = self.recipes.model, self.shared.store
        return development_bags(encoder, model, store, self.bags, self.extras)

    def _losses(self, head: FittedHead, development: DevelopmentBags) -> list[float | None]:
        """Of each development bag, where the endpoint is response or none."""
        if endpoint_of(self.bags).kind != "binary":
            return []
        losses = log_losses(np.asarray(head.inner_logits), development.labels)
        return [float(own) if math.isfinite(own) else None for own in losses]

    def _failed(self, unit: Unit, fit: Fit, error: FloatingPointError) -> None:
        score = TrialScore(
            trial=fit.trial, fold=unit.member.name, state="failed", reason=str(error)
        )
        write_score(self.folder, score)
