"""What it takes to go on inside a training as if nothing had happened, and how it is put back.

Noise and the order of minibatches follow from (seed, epoch, step) alone: no random stream is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from torch import Tensor

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from recart.training.module import StackModule

__all__ = ["put_at", "restore", "results_of", "state_of", "steps_so_far", "take_results"]

_RESULTS: Final = ("best_loss_m", "best_epoch_m", "best_states", "stopped_m", "history")


def results_of(module: StackModule) -> dict[str, Any]:
    """What a training has found so far."""
    return {name: list(getattr(module, name)) for name in _RESULTS}


def take_results(module: StackModule, results: dict[str, Any]) -> None:
    """Put back what `results_of` gave."""
    for name in _RESULTS:
        setattr(module, name, list(results[name]))


def state_of(
    trainer: pl.Trainer, module: StackModule, epoch: int, step: int, before: tuple[int, int]
) -> dict[str, Any]:
    """The state before step `step` of epoch `epoch`; `before` is `steps_so_far` at its start."""
    optimizer = module.optimizers(use_pl_optimizer=False)
    return {
        "epoch": epoch,
        "step": step,
        "before": list(before),
        "running": list(module.running),
        "weights": _on_cpu(module.stack.state_dict()),
        "joint": {} if module.joint is None else _on_cpu(module.joint.state_dict()),
        "optimizer": _on_cpu(optimizer.state_dict()),  # type: ignore[union-attr]
        "sums": _on_cpu(module.train_sum) if step else {},
        "precision": _on_cpu(trainer.precision_plugin.state_dict()),
        "callbacks": {
            own.state_key: _on_cpu(state)
            for own in trainer.callbacks  # type: ignore[attr-defined]
            if (state := own.state_dict())
        },
        "results": results_of(module),
    }


def steps_so_far(trainer: pl.Trainer) -> tuple[int, int]:
    """Steps of the optimizer and of the loop, as Lightning counts them."""
    loop = trainer.fit_loop.epoch_loop
    return loop.global_step, loop._batches_that_stepped


def put_at(trainer: pl.Trainer, state: dict[str, Any]) -> None:
    """Make the trainer begin with the state's epoch.

    Not by Lightning's own resumption, which runs the validation of an epoch that was cut on one
    minibatch, and counts an epoch's end in several ways.
    """
    progress, loop = trainer.fit_loop.epoch_progress, trainer.fit_loop.epoch_loop
    for own in (progress.current, progress.total):
        own.ready = own.started = own.processed = own.completed = state["epoch"]  # type: ignore[attr-defined]
    counted = loop.automatic_optimization.optim_progress.optimizer.step.total
    counted.ready = counted.completed = state["before"][0]
    loop._batches_that_stepped = state["before"][1]


def restore(trainer: pl.Trainer, module: StackModule, state: dict[str, Any]) -> None:
    """Put weights, moments and results back, once the trainer has its optimizer and loaders."""
    take_results(module, state["results"])
    module.keep([module.running.index(member) for member in state["running"]])
    module.stack.load_state_dict(state["weights"])
    if module.joint is not None:
        module.joint.load_state_dict(state["joint"])
    module.optimizers(use_pl_optimizer=False).load_state_dict(state["optimizer"])  # type: ignore[union-attr]
    trainer.precision_plugin.load_state_dict(state["precision"])
    for own in trainer.callbacks:  # type: ignore[attr-defined]
        if own.state_key in state["callbacks"]:
            own.load_state_dict(state["callbacks"][own.state_key])


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: _on_cpu(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_on_cpu(inner) for inner in value)
    return value
