"""The Lightning module that trains a stack of members, each as if it were alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import lightning.pytorch as pl
import torch
from torch import Tensor

from recart.contracts import CellBatch
from recart.models.noise import MemberNoise
from recart.models.totalvi import TotalVIStack
from recart.training.encoder_training import EncoderTraining
from recart.training.optimizer import StackedAdam

__all__ = ["StackModule"]

_MAX_STEPS = 1_000_000  # steps of one epoch, at most


@final
class StackModule(pl.LightningModule):
    """Trains a `TotalVIStack`; keeps the best state of every member by its own validation loss.

    `best_loss_m`, `best_epoch_m` and `best_states` hold the result; a member that has stopped
    takes no further step.
    """

    def __init__(self, stack: TotalVIStack, seeds: Sequence[int], recipe: EncoderTraining) -> None:
        super().__init__()
        self.stack = stack
        self.seeds = list(seeds)
        self.recipe = recipe
        members = len(self.seeds)
        self.best_loss_m = [float("inf")] * members
        self.best_epoch_m = [-1] * members
        self.stopped_m = [False] * members
        self.best_states: list[dict[str, Tensor]] = [{} for _ in range(members)]
        self.history: list[dict[str, Any]] = []
        self._train_sum: dict[str, Tensor] = {}
        self._validation_sum: dict[str, Tensor] = {}

    @property
    def kl_weight(self) -> float:
        """Weight of the KL terms in this epoch."""
        return min(1.0, (self.current_epoch + 1) / max(1, self.recipe.warmup_epochs))

    def configure_optimizers(self) -> StackedAdam:
        """One optimizer that steps every member by itself."""
        return StackedAdam(
            self.stack.parameters(),
            lr_m=[self.recipe.lr] * len(self.seeds),
            weight_decay=self.recipe.weight_decay,
            clip_norm=self.recipe.clip_norm,
        )

    def on_train_epoch_start(self) -> None:
        """Draw the members' own orders of this epoch."""
        self._train_sum = {}
        dataset = self.trainer.train_dataloader.dataset  # type: ignore[union-attr]
        dataset.set_epoch(self.current_epoch, [not stopped for stopped in self.stopped_m])

    def training_step(self, batch: CellBatch, step: int) -> Tensor | None:
        """Sum of the members' losses: their gradients do not meet."""
        if not any(batch.active):
            return None
        # not the global step: how many steps an epoch has depends on the company
        noise = MemberNoise(self.seeds, self.current_epoch * _MAX_STEPS + step, self.device)
        terms = self.stack.terms(batch, noise)
        loss_m = self.stack.loss(terms, batch.weight_mb, self.kl_weight)
        optimizer = self.optimizers(use_pl_optimizer=False)
        optimizer.active = batch.active  # type: ignore[union-attr]
        _accumulate(self._train_sum, terms, batch.weight_mb)
        return loss_m.sum()  # of an inactive member every weight is 0

    def on_validation_epoch_start(self) -> None:
        """Forget the last epoch's sums."""
        self._validation_sum = {}

    def validation_step(self, batch: CellBatch, _step: int) -> None:
        """Sum the terms over each member's inner-validation cells, at their means."""
        _accumulate(self._validation_sum, self.stack.terms(batch, None), batch.weight_mb)

    def on_validation_epoch_end(self) -> None:
        """Keep the best state of each member; stop those that no longer improve."""
        if self.trainer.sanity_checking:
            return
        train, validation = _means(self._train_sum), _means(self._validation_sum)
        one = torch.ones(len(self.seeds), 1)
        # at full KL weight, so that epochs are comparable during the warm-up
        loss_m, train_m = (
            self.stack.loss({k: v.unsqueeze(-1) for k, v in means.items()}, one, 1.0).tolist()
            for means in (validation, train)
        )
        for member, loss in enumerate(loss_m):
            if self.stopped_m[member]:
                continue
            if not torch.isfinite(torch.tensor(loss)):
                raise FloatingPointError(self._not_finite(member, validation))
            if loss < self.best_loss_m[member]:
                self.best_loss_m[member] = loss
                self.best_epoch_m[member] = self.current_epoch
                self.best_states[member] = self.stack.member_state(member)
            elif self.current_epoch - self.best_epoch_m[member] >= self.recipe.patience:
                self.stopped_m[member] = self.current_epoch + 1 >= self.recipe.warmup_epochs
            row: dict[str, Any] = {"member": member, "epoch": self.current_epoch}
            row |= {"elbo_train": -train_m[member], "elbo_validation": -loss}
            row |= {f"train_{name}": float(value[member]) for name, value in train.items()}
            row |= {f"validation_{k}": float(value[member]) for k, value in validation.items()}
            self.history.append(row)
        self._log_epoch(train, validation)
        if all(self.stopped_m):
            self.trainer.should_stop = True

    def _log_epoch(self, train: dict[str, Tensor], validation: dict[str, Tensor]) -> None:
        """Means over the members that still train: what a progress bar and a tracker show."""
        running = [m for m, stopped in enumerate(self.stopped_m) if not stopped] or [0]
        for prefix, means in (("train", train), ("validation", validation)):
            for name, value in means.items():
                self.log(f"{prefix}/{name}", float(value[running].mean()))
        self.log("kl_weight", self.kl_weight)
        self.log("members_done", float(sum(self.stopped_m)))

    def _not_finite(self, member: int, validation: dict[str, Tensor]) -> str:
        bad = [name for name, value in validation.items() if not torch.isfinite(value[member])]
        return (
            f"member {member}: the terms {bad or ['total']} are not finite in epoch "
            f"{self.current_epoch}; lower training.lr or set training.clip_norm, and check the "
            "counts for extreme values"
        )


def _accumulate(sums: dict[str, Tensor], terms: dict[str, Tensor], weight_mb: Tensor) -> None:
    weighted = {name: (value.detach() * weight_mb).sum(-1) for name, value in terms.items()}
    for name, value in {**weighted, "cells": weight_mb.sum(-1)}.items():
        sums[name] = sums[name] + value if name in sums else value


def _means(sums: dict[str, Tensor]) -> dict[str, Tensor]:
    cells = sums["cells"].clamp_min(1.0)
    return {name: (value / cells).cpu() for name, value in sums.items() if name != "cells"}
