"""The Lightning module that trains a stack of members, each as if it were alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, final

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from recart.contracts import CellBatch, MemberSettings
from recart.data.device_store import DeviceStore, bytes_on_device
from recart.losses.divergences import kl_standard_normal
from recart.models.noise import MemberNoise, Noise, RowNoise
from recart.models.totalvi import TotalVIStack
from recart.training.collapse import active_dimensions
from recart.training.encoder_training import EncoderTraining
from recart.training.finite import FiniteWatch, not_finite
from recart.training.joint_term import JointTerm
from recart.training.optimizer import StackedAdam
from recart.training.recorded_step import RecordedStep
from recart.training.states import JobStates
from recart.training.term_sums import EpochTerms, add_sums, means_of, sums_of

__all__ = ["StackModule"]

_MAX_STEPS = 1_000_000  # steps of one epoch, at most
_SHARE_FOR_CELLS = 0.4  # of the card's free memory
_PER_DIMENSION = "kl_per_dimension"


@final
class StackModule(pl.LightningModule):
    """Trains a `TotalVIStack`; keeps the best state of every member by its own validation loss.

    `best_loss_m`, `best_epoch_m` and `best_states` hold the result. A member that has stopped
    leaves the stack before the next epoch: `running` are the members whose weights are in it.
    Errors speak of members by `names` (None: by number).
    """

    def __init__(
        self,
        stack: TotalVIStack,
        seeds: Sequence[int],
        recipe: EncoderTraining,
        settings: Sequence[MemberSettings] | None = None,
        names: Sequence[str] | None = None,
        joint: JointTerm | None = None,
    ) -> None:
        super().__init__()
        self.stack = stack
        self.joint = joint
        self.seeds = list(seeds)
        self.names = [str(m) for m in range(len(self.seeds))] if names is None else list(names)
        self.recipe = recipe
        members = len(self.seeds)
        own_lr = [own.lr for own in settings] if settings else [None] * members
        self.lr_m = [recipe.lr if lr is None else lr for lr in own_lr]
        self.running = list(range(members))
        self.best_loss_m = [float("inf")] * members
        self.best_epoch_m = [-1] * members
        self.stopped_m = [False] * members
        self.best_states: list[dict[str, Tensor]] = [{} for _ in range(members)]
        self.history: list[dict[str, Any]] = []
        self.held = False  # whether minibatches are gathered on the card
        self.recorded: RecordedStep | None = None
        self.states: JobStates | None = None  # where it can be taken up again
        self.train_sum: dict[str, Tensor] = {}  # of the epoch so far
        self._validation_sum: dict[str, Tensor] = {}
        self._finite = FiniteWatch()

    @property
    def kl_weight(self) -> float:
        """Weight of the KL terms in this epoch."""
        return min(1.0, (self.current_epoch + 1) / max(1, self.recipe.warmup_epochs))

    def configure_optimizers(self) -> StackedAdam:
        """One optimizer that steps every member by itself."""
        return StackedAdam(
            self.parameters(),
            lr_m=self.lr_m,
            weight_decay=self.recipe.weight_decay,
            clip_norm=self.recipe.clip_norm,
        )

    def on_train_start(self) -> None:
        """Bring the cells to the card where they fit beside the training."""
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            self.held = self.hold_cells(free)
            self._record()

    def hold_cells(self, free: int) -> bool:
        """Gather minibatches on the device from now on, if the cells take a part of `free` bytes.

        Cells that are streamed from disk stay there. Returns whether they are held.
        """
        loaders = (self.trainer.train_dataloader, self.trainer.val_dataloaders)
        data = [loader.dataset for loader in loaders]  # type: ignore[union-attr]
        store = data[0].store
        fits = store.path is None and bytes_on_device(store) < _SHARE_FOR_CELLS * free
        if fits:
            held = DeviceStore(store, self.device)
            for own in data:
                own.hold(held)
        return fits

    def on_train_epoch_start(self) -> None:
        """Let go of members that have stopped; draw the others' own orders of this epoch."""
        self.train_sum = {}
        self._finite.forget()
        self._drop_stopped()
        dataset = self.trainer.train_dataloader.dataset  # type: ignore[union-attr]
        dataset.set_epoch(self.current_epoch, [True] * len(self.running))

    def _drop_stopped(self) -> None:
        rows = [row for row, m in enumerate(self.running) if not self.stopped_m[m]]
        if self.keep(rows) and self.recorded is not None:
            self.stack.zero_grad(set_to_none=True)
            self._record()

    def keep(self, rows: Sequence[int]) -> bool:
        """Go on with these rows of the stack alone; whether there were others."""
        if len(rows) == len(self.running):
            return False
        self.stack.keep(rows)
        if self.joint is not None:
            self.joint.keep(rows)
        strategy = self.trainer.strategy
        if isinstance(strategy, DDPStrategy):  # its buckets are as large as the weights were
            strategy.model = self
            strategy.configure_ddp()
        self.optimizers(use_pl_optimizer=False).keep(rows)  # type: ignore[union-attr]
        for loader in (self.trainer.train_dataloader, self.trainer.val_dataloaders):
            loader.dataset.keep(rows)  # type: ignore[union-attr]
        self.running = [self.running[row] for row in rows]
        return True

    def training_step(self, batch: CellBatch, step: int) -> Tensor | None:
        """Sum of the members' losses: their gradients do not meet."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        optimizer.active = batch.active  # type: ignore[union-attr]
        if not any(batch.active):
            return None
        if self.recorded is None:
            self.stack.zero_grad(set_to_none=True)  # the last step's: not beside this one's arrays
            share_m = self._share_m(batch, step)
            loss, sums = self._forward(batch, self._noise(step), self.kl_weight, share_m, step)
        else:
            seeds = [self.seeds[m] for m in self.running]
            loss, sums = self.recorded(batch, seeds, self._step_of_run(step), self.kl_weight)
        self._finite.see(sums, step)
        if self.device.type == "cpu":  # a GPU would be waited for
            self.ask_finite()
        add_sums(self.train_sum, sums)
        return loss

    def backward(self, loss: Tensor, *_: Any, **__: Any) -> None:
        """Gradients of `loss`, where a recorded step has not taken them already."""
        if self.recorded is None:
            loss.backward()  # type: ignore[no-untyped-call]

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        """Forget the last step's gradients; a recorded step writes over them in place."""
        if self.recorded is None:
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def _forward(
        self,
        batch: CellBatch,
        noise: Noise,
        kl_weight: float | Tensor,
        share_m: Tensor | float = 1.0,
        step: int = 0,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, 0 for an inactive member, and each term's sum over cells."""
        posterior, terms = self.stack.drawn(batch, noise)
        loss_m = self.stack.loss(terms, batch.weight_mb, kl_weight)
        sums = sums_of(terms, batch.weight_mb)
        if self.joint is not None:
            data = self.trainer.train_dataloader.dataset  # type: ignore[union-attr]
            response_m = self.joint(posterior.mean_mbl, data.rows_of(step))
            loss_m = loss_m + kl_weight * response_m
            sums["response"] = response_m.detach() * sums["cells"]
        return (loss_m * share_m).sum(), sums

    def _record(self) -> None:
        """Record the next step, where replaying it is the same as running it."""
        self.recorded = None
        optimizer = self.optimizers(use_pl_optimizer=False)
        # a scaled loss has scaled gradients, and other processes' are averaged with them
        plain = getattr(self.trainer.precision_plugin, "scaler", None) is None
        alone = self.trainer.world_size == 1 and self.joint is None
        optimizer.clipped = recorded = self.held and self.recipe.record and plain and alone  # type: ignore[union-attr]
        if recorded:
            self.recorded = RecordedStep(
                self._forward,
                optimizer.clip,  # type: ignore[union-attr]
                list(self.stack.parameters()),
                len(self.running),
                self.device,
            )

    def _step_of_run(self, step: int) -> int:
        # not the global step: how many steps an epoch has depends on the company
        return self.current_epoch * _MAX_STEPS + step

    @property
    def _running_names(self) -> list[str]:
        return [self.names[m] for m in self.running]

    def _noise(self, step: int) -> Noise:
        seeds = [self.seeds[m] for m in self.running]
        noise = MemberNoise(seeds, self._step_of_run(step), self.device)
        data = self.trainer.train_dataloader.dataset  # type: ignore[union-attr]
        if self.trainer.world_size == 1:
            return noise
        return RowNoise(noise, data.rows, data.width)

    def _share_m(self, batch: CellBatch, step: int) -> Tensor | float:
        """What makes the mean over processes that over all cells of the minibatch."""
        if self.trainer.world_size == 1:
            return 1.0
        data = self.trainer.train_dataloader.dataset  # type: ignore[union-attr]
        whole_m = batch.weight_mb.new_tensor(data.cells_of(step)).clamp_min(1.0)
        return self.trainer.world_size * batch.weight_mb.sum(-1) / whole_m

    def on_validation_epoch_start(self) -> None:
        """Forget the last epoch's sums; no member goes on from a step that was not finite."""
        self.ask_finite()
        self._validation_sum = {}

    def ask_finite(self) -> None:
        """Raise where a term of this epoch was not finite."""
        self._finite.ask(self._running_names, self.current_epoch)

    def validation_step(self, batch: CellBatch, _step: int) -> None:
        """Sum the terms over each member's inner-validation cells, at their means."""
        posterior = self.stack.latent(batch)
        terms = self.stack.terms_at_mean(batch, posterior)
        terms[_PER_DIMENSION] = kl_standard_normal(*posterior)
        add_sums(self._validation_sum, sums_of(terms, batch.weight_mb))

    def on_validation_epoch_end(self) -> None:
        """Keep the best state of each member; stop those that no longer improve."""
        if self.trainer.sanity_checking:
            return
        train, validation = self._means(self.train_sum), self._means(self._validation_sum)
        kl_ml = validation.pop(_PER_DIMENSION)
        loss_m, train_m = self._losses(validation), self._losses(train)
        for row, member in enumerate(self.running):
            loss = loss_m[row]
            if not math.isfinite(loss):
                place = f"in validation after epoch {self.current_epoch}"
                raise FloatingPointError(not_finite(self.names[member], place, validation, row))
            if loss < self.best_loss_m[member]:
                self.best_loss_m[member] = loss
                self.best_epoch_m[member] = self.current_epoch
                self.best_states[member] = self.stack.member_state(row)
            elif self.current_epoch - self.best_epoch_m[member] >= self.recipe.patience:
                self.stopped_m[member] = self.current_epoch + 1 >= self.recipe.warmup_epochs
            own = EpochTerms(row, train, validation, kl_ml, float(self.stack.kl_weight_m[row]))
            entry = {"member": member, "epoch": self.current_epoch}
            self.history.append({**entry, **own.told(train_m[row], loss)})
        self._log_epoch(train, validation, kl_ml)
        if all(self.stopped_m):
            self.trainer.should_stop = True

    def _means(self, sums: dict[str, Tensor]) -> dict[str, Tensor]:
        """Sums of all processes over their cells."""
        reduce = self.trainer.strategy.reduce
        return means_of({name: reduce(own, reduce_op="sum") for name, own in sums.items()})

    def _losses(self, means: dict[str, Tensor]) -> list[float]:
        """Each member's objective at full KL weight: epochs of the warm-up are comparable."""
        terms = {name: value.unsqueeze(-1).to(self.device) for name, value in means.items()}
        one = torch.ones(len(self.running), 1, device=self.device)
        losses: list[float] = self.stack.loss(terms, one, 1.0).tolist()
        return losses

    def _log_epoch(
        self, train: dict[str, Tensor], validation: dict[str, Tensor], kl_ml: Tensor
    ) -> None:
        """Means over the members that still train: what a progress bar and a tracker show."""
        rows = [row for row, m in enumerate(self.running) if not self.stopped_m[m]] or [0]
        for prefix, means in (("train", train), ("validation", validation)):
            for name, value in means.items():
                self.log(f"{prefix}/{name}", float(value[rows].mean()))
        active = [active_dimensions(kl_ml[row].tolist()) for row in rows]
        self.log("active_dimensions", sum(active) / len(active))
        self.log("kl_weight", self.kl_weight)
        self.log("members_done", float(sum(self.stopped_m)))
