"""A training step recorded once on a card and replayed: one launch instead of a thousand.

A small encoder takes a card a few milliseconds a step, and a processor several times as long to
launch the step's kernels one after another. A CUDA graph launches them all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import final

import torch
from torch import Tensor

from recart.contracts import CellBatch
from recart.models.noise import MemberNoise

__all__ = ["RecordedStep"]

_WARM_UP = 3  # steps before the recording: libraries allocate what they keep

Forward = Callable[[CellBatch, MemberNoise, Tensor], tuple[Tensor, dict[str, Tensor]]]


@final
class RecordedStep:
    """Forward, backward and what follows them, replayed on arrays that keep their place.

    The gradients of the parameters stay where the recording put them and are written anew by
    each replay. Each call gives them to the parameters again, for others set them to None in
    between, as Lightning does before it validates. A minibatch of another shape is recorded anew.

    Parameters
    ----------
    forward
        Loss and sums of a minibatch, given noise and KL weight. Asks the device for nothing.
    finish
        Run after the backward pass, such as the clipping of gradients.
    parameters
        Those that get gradients.
    members
        Members of the stack: each has a random stream.
    device
        The card.
    """

    def __init__(
        self,
        forward: Forward,
        finish: Callable[[], None],
        parameters: Sequence[Tensor],
        members: int,
        device: torch.device,
    ) -> None:
        self.forward = forward
        self.finish = finish
        self.parameters = list(parameters)
        self.gradients: list[Tensor | None] = []
        self.noise = MemberNoise([0] * members, 0, device)
        self.kl_weight = torch.zeros((), device=device)
        self.batch: CellBatch | None = None
        self.graph = torch.cuda.CUDAGraph()
        self.loss = torch.zeros((), device=device)
        self.sums: dict[str, Tensor] = {}

    def __call__(
        self, batch: CellBatch, seeds: Sequence[int], step: int, kl_weight: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and sums; they and the gradients are overwritten by the next call."""
        self.kl_weight.fill_(kl_weight)
        if self.batch is None or not _alike(self.batch, batch):
            self._record(batch)
        else:
            _copy(batch, self.batch)
        self.noise.restart(seeds, step)
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return self.loss, self.sums

    def _record(self, batch: CellBatch) -> None:
        self.batch = _clone(batch)
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with _casts_are_not_kept():
            with torch.cuda.stream(beside):
                for _ in range(_WARM_UP):
                    self._step(self.batch)
            torch.cuda.current_stream().wait_stream(beside)
            for parameter in self.parameters:
                parameter.grad = None
            self.graph = torch.cuda.CUDAGraph()
            for generator in self.noise.generators:
                self.graph.register_generator_state(generator)
            with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
                self.loss, self.sums = self._step(self.batch)
        self.gradients = [parameter.grad for parameter in self.parameters]

    def _step(self, batch: CellBatch) -> tuple[Tensor, dict[str, Tensor]]:
        # a batch keeps what it was asked before, here the order of its columns
        loss, sums = self.forward(replace(batch, x=replace(batch.x)), self.noise, self.kl_weight)
        with torch.autocast("cuda", enabled=False):  # as outside of a recording
            loss.backward()  # type: ignore[no-untyped-call]
        self.finish()
        return loss.detach(), sums


def _tensors(batch: CellBatch) -> Iterator[Tensor]:
    for part in (batch, batch.x):
        for field in fields(part):
            if isinstance(value := getattr(part, field.name), Tensor):
                yield value


def _alike(one: CellBatch, other: CellBatch) -> bool:
    shapes = ([own.shape for own in _tensors(batch)] for batch in (one, other))
    return one.x.shape == other.x.shape and next(shapes) == next(shapes)


def _clone(batch: CellBatch) -> CellBatch:
    def own(part: CellBatch) -> dict[str, Tensor]:
        named = {field.name: getattr(part, field.name) for field in fields(part)}
        return {name: value.clone() for name, value in named.items() if isinstance(value, Tensor)}

    return replace(batch, x=replace(batch.x, **own(batch.x)), **own(batch))  # type: ignore[arg-type]


def _copy(source: CellBatch, target: CellBatch) -> None:
    for value, place in zip(_tensors(source), _tensors(target), strict=True):
        place.copy_(value)


@contextmanager
def _casts_are_not_kept() -> Iterator[None]:
    """Weights are rounded inside the recording: a rounded copy of before would never change."""
    before = torch.is_autocast_cache_enabled()
    torch.clear_autocast_cache()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)
