"""Training of a gated-attention residual on top of given logits, many problems in one stack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from recart.models.gated_attention import GatedAttention, attention_parameters
from recart.models.noise import MemberNoise
from recart.training.optimizer import StackedAdam

__all__ = ["Residual", "ResidualProblem", "ResidualTraining"]

_CLIP_NORM = 1.0
_PARAMETERS = 5000  # fewer than this
_BYTES = 1 << 28  # of the instances of problems that are trained at once


@dataclass(frozen=True, kw_only=True)
class ResidualProblem:
    """Instances (n, c, i) of a member's bags, which are there, and the logits to add to.

    Rows of `weight_n` 0 are not trained on. The residual takes `epochs` steps at `strength`.
    """

    x_nci: Tensor
    mask_nc: Tensor
    offset_n: Tensor
    label_n: Tensor
    weight_n: Tensor
    seed: int
    strength: float
    epochs: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Problems of one shape can be one stack."""
        return tuple(self.x_nci.shape)


@dataclass(frozen=True)
class Residual:
    """Weights after the last step, and (e, n) the residuals of all rows from step 0 on."""

    network: GatedAttention
    path_en: Tensor


@final
@dataclass(frozen=True, kw_only=True)
class ResidualTraining:
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019) on whole cohorts.

    The network has `hidden` units, fewer where it would have 5,000 parameters or more. In each step
    a share `dropout` of the tokens is hidden. The path has one row each `every` steps.
    """

    hidden: int
    lr: float
    dropout: float
    every: int

    def width(self, inputs: int) -> int:
        """Hidden units of a network that reads so many inputs."""
        sizes = range(1, self.hidden + 1)
        return max(h for h in sizes if h == 1 or attention_parameters(inputs, h) < _PARAMETERS)

    def restore(self, inputs: int, state: dict[str, Tensor]) -> GatedAttention:
        """One member's network from its weights."""
        network = GatedAttention([0], inputs, self.width(inputs))
        network.load_state_dict(state)
        return network

    def fit(self, problems: Sequence[ResidualProblem]) -> list[Residual]:
        """Every problem by itself: norms, moments and random streams are its own."""
        fitted: dict[int, Residual] = {}
        for stack in _stacks(problems):
            some = self._fit([problems[i] for i in stack])
            fitted |= dict(zip(stack, some, strict=True))
        return [fitted[i] for i in range(len(problems))]

    def _fit(self, problems: Sequence[ResidualProblem]) -> list[Residual]:
        x, mask, offset, label, weight = (
            torch.stack([getattr(own, name) for own in problems])
            for name in ("x_nci", "mask_nc", "offset_n", "label_n", "weight_n")
        )
        seeds = [own.seed for own in problems]
        network = GatedAttention(seeds, x.shape[-1], self.width(x.shape[-1]))
        optimizer = StackedAdam(
            network.parameters(), [self.lr] * len(problems), 0.0, clip_norm=_CLIP_NORM
        )
        decay = torch.tensor([self.lr * own.strength for own in problems], dtype=torch.float64)
        path = [_evaluate(network, x, mask)]
        noise = MemberNoise(seeds, 0)
        longest = max(own.epochs for own in problems)
        for epoch in range(longest):
            active = [epoch < own.epochs for own in problems]
            noise.restart(seeds, epoch)
            seen = mask & (noise.keep(mask.float(), self.dropout) > 0) if self.dropout else mask
            logits, _, _ = network(x, seen)
            loss_qn = torch.nn.functional.binary_cross_entropy_with_logits(
                offset + logits, label, reduction="none"
            )
            loss = ((loss_qn * weight).sum(-1) / weight.sum(-1)).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.active = active
            optimizer.step()
            keep = torch.where(torch.tensor(active), 1 - decay, 1.0)
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.mul_(keep.view(-1, *(1,) * (parameter.ndim - 1)))
            if (epoch + 1) % self.every == 0:
                path.append(_evaluate(network, x, mask))
        whole = torch.stack(path, dim=1)
        state = network.state_dict()
        return [
            Residual(
                self.restore(
                    x.shape[-1], {name: w[q : q + 1].clone() for name, w in state.items()}
                ),
                whole[q, : own.epochs // self.every + 1],
            )
            for q, own in enumerate(problems)
        ]


@torch.no_grad()
def _evaluate(network: GatedAttention, x: Tensor, mask: Tensor) -> Tensor:
    logits: Tensor = network(x, mask)[0]
    return logits


def _stacks(problems: Sequence[ResidualProblem]) -> Iterator[list[int]]:
    """Numbers of the problems that are trained together: of one shape, and not too many."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for number, own in enumerate(problems):
        alike.setdefault(own.shape, []).append(number)
    for numbers in alike.values():
        x = problems[numbers[0]].x_nci
        size = max(1, _BYTES // max(1, x.numel() * x.element_size()))
        for start in range(0, len(numbers), size):
            yield numbers[start : start + size]
