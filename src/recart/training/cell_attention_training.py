"""Training of gated attention over cells, many problems in one stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from recart.models.gated_attention import GatedAttention
from recart.ranges import ABOVE_ZERO, AT_LEAST_ONE, NOT_NEGATIVE, require
from recart.training.cell_views import CellScaling, all_cells, random_views
from recart.training.heads import Array, BagLatents, Token
from recart.training.optimizer import StackedAdam

__all__ = ["CellProblem", "CellTraining"]

_CLIP_NORM = 1.0
_RANGES = {
    **dict.fromkeys(("hidden", "views", "cells", "bags"), AT_LEAST_ONE),
    "lr": ABOVE_ZERO,
    "weight_decay": NOT_NEGATIVE,
}


class CellProblem(NamedTuple):
    """Bags, the rows of them that are trained on, and those whose logits are followed."""

    bags: BagLatents
    labels: Array
    tokens: tuple[Token, ...]
    scaling: CellScaling
    train: Array
    test: Array
    seed: int
    epochs: int

    @property
    def inputs(self) -> int:
        """What attention reads of a cell."""
        return int(self.bags.latents[0].shape[1]) + len(self.tokens)

    @property
    def prior(self) -> float:
        """Log odds of the training labels."""
        share = float(self.labels[self.train].mean())
        return float(np.log(share) - np.log1p(-share))


@final
@dataclass(frozen=True, kw_only=True)
class CellTraining:
    """Minibatches of `bags` bags, `views` random views of `cells` cells each.

    Adam with decoupled weight decay. Every random number of a problem comes from its own seed.
    """

    hidden: int
    views: int
    cells: int
    bags: int
    lr: float
    weight_decay: float

    def __post_init__(self) -> None:
        """Refuse values that nothing can be trained with.

        Raises
        ------
        ValueError
            With all fields that are null or outside of their range.
        """
        require(self, _RANGES)

    def fit(
        self, problems: Sequence[CellProblem], every: int
    ) -> list[tuple[GatedAttention, Array]]:
        """Each problem's network, and (e, n) logits of its test bags after each `every` epochs.

        The first row is before the first step: the share of responders.
        """
        alike: dict[int, list[int]] = {}
        for number, own in enumerate(problems):
            alike.setdefault(own.inputs, []).append(number)
        fitted: dict[int, tuple[GatedAttention, Array]] = {}
        for numbers in alike.values():
            some = self._fit([problems[i] for i in numbers], every)
            fitted |= dict(zip(numbers, some, strict=True))
        return [fitted[i] for i in range(len(problems))]

    def _fit(
        self, problems: Sequence[CellProblem], every: int
    ) -> list[tuple[GatedAttention, Array]]:
        network = GatedAttention([own.seed for own in problems], problems[0].inputs, self.hidden)
        optimizer = StackedAdam(
            network.parameters(), [self.lr] * len(problems), 0.0, clip_norm=_CLIP_NORM
        )
        paths = [[np.full(len(own.test), own.prior)] for own in problems]
        decay = 1 - self.lr * self.weight_decay
        for epoch in range(max(own.epochs for own in problems)):
            orders = [self._order(own, epoch) for own in problems]
            for step in range(max(len(own) for own in orders)):
                active = [
                    epoch < own.epochs and step < len(order)
                    for own, order in zip(problems, orders, strict=True)
                ]
                if not any(active):
                    continue
                rows = [order[step] if on else [] for order, on in zip(orders, active, strict=True)]
                optimizer.zero_grad()
                self._loss(network, problems, rows, (epoch, step)).backward()  # type: ignore[no-untyped-call]
                optimizer.active = active
                optimizer.step()
                with torch.no_grad():
                    keep = torch.tensor([decay if on else 1.0 for on in active]).double()
                    for parameter in network.parameters():
                        parameter.mul_(keep.view(-1, *(1,) * (parameter.ndim - 1)))
            if (epoch + 1) % every == 0:
                for q, own in enumerate(problems):
                    if len(own.test):
                        alone = self.member(network, q)
                        paths[q].append(self.evaluate(alone, own, own.test))
        return [
            (self.member(network, q), np.stack(path[: own.epochs // every + 1]))
            for q, (own, path) in enumerate(zip(problems, paths, strict=True))
        ]

    def _order(self, problem: CellProblem, epoch: int) -> list[list[int]]:
        """Minibatches of an epoch."""
        rng = np.random.default_rng([problem.seed, epoch])
        order = rng.permutation(problem.train).tolist()
        return [order[i : i + self.bags] for i in range(0, len(order), self.bags)]

    def _loss(
        self,
        network: GatedAttention,
        problems: Sequence[CellProblem],
        rows: Sequence[Sequence[int]],
        step: tuple[int, int],
    ) -> Tensor:
        """Sum of the problems' mean losses over views; a problem without rows adds none."""
        width = max(len(own) for own in rows) * self.views
        x = torch.zeros(len(rows), width, self.cells, problems[0].inputs).double()
        mask = torch.zeros(x.shape[:3], dtype=torch.bool)
        label, weight, prior = (torch.zeros(x.shape[:2]).double() for _ in range(3))
        for q, (own, chosen) in enumerate(zip(problems, rows, strict=True)):
            if not len(chosen):
                continue
            rng = np.random.default_rng([own.seed, *step, 1])
            shape = (self.views, self.cells)
            n = len(chosen) * self.views
            x[q, :n], mask[q, :n] = random_views(
                own.bags, chosen, own.tokens, own.scaling, shape, rng
            )
            of_view = torch.from_numpy(own.labels[list(chosen)]).double()
            label[q, :n] = of_view.repeat_interleave(self.views)
            weight[q, :n], prior[q] = 1 / n, own.prior
        logits, _, _ = network(x, mask)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            prior + logits, label, reduction="none"
        )
        return (loss * weight).sum()

    def member(self, network: GatedAttention, member: int) -> GatedAttention:
        """One problem's network, in storage of its own."""
        state = network.state_dict()
        return self.restore({n: own[member : member + 1].clone() for n, own in state.items()})

    def restore(self, state: dict[str, Tensor]) -> GatedAttention:
        """The network with these weights."""
        network = GatedAttention([0], state["embed.weight"].shape[1], self.hidden)
        network.load_state_dict(state)
        return network

    @staticmethod
    @torch.no_grad()
    def evaluate(network: GatedAttention, problem: CellProblem, rows: Array) -> Array:
        """Logits of some bags, by all their cells."""
        logits = []
        for n in rows:
            cells = all_cells(problem.bags, int(n), problem.tokens, problem.scaling)
            pooled = network.pool_chunks(cells)
            logits.append(problem.prior + float(network.read(pooled.unsqueeze(1))))
        return np.array(logits)
