"""The mixed head: a Bayesian mixed model that weighs cells, with an interval for each patient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar, Final, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from recart.models.mixed_logistic import (
    Effects,
    MixedBags,
    fit_mixed_logistic,
    posterior_covariance,
)
from recart.ranges import AT_LEAST_ONE, Range
from recart.training.cell_views import CellScaling, all_cells, random_views
from recart.training.fixed_effects import FixedEffects
from recart.training.head_problems import (
    HeadProblem,
    chosen_elsewhere,
    head_problems,
    log_losses,
)
from recart.training.heads import (
    BOUNDS,
    Array,
    BagLatents,
    ChosenHead,
    Head,
    HeadWords,
    Token,
)
from recart.training.prototype_tokens import tokens_of

__all__ = ["LEVEL", "FittedMixedHead", "MixedHead"]

LEVEL: Final = 0.95
"""Of the posterior that the interval of a patient holds."""

# Of one number a cell and problem, of members that are fitted at once: as much as caches hold.
_BYTES = 1 << 22


@final
@dataclass(frozen=True, kw_only=True)
class MixedHead(Head):
    """Recipe of the mixed head.

    Extras are fixed effects, cells have a random effect that also weighs them. `strengths` are the
    prior precisions of effects and `weightings` of the weighting of cells, `inf` for none; both are
    chosen by log loss over `inner_folds`. At most `cells` cells of a bag, drawn by the seed, are
    fitted to; all of them are predicted from. Markers are not read.
    """

    strengths: Sequence[float]
    weightings: Sequence[float]
    cells: int
    inner_folds: int

    reads_markers: ClassVar[bool] = False
    ranges: ClassVar[Mapping[str, Range]] = {"cells": AT_LEAST_ONE}
    words: ClassVar[HeadWords] = HeadWords(
        penalty="normal priors of effects and of the weighting of cells, their precisions chosen "
        "on inner folds",
        predictors="latents of cells and fixed effects are standardised on the training patients",
        reading="is linear in a weighted mean of cells and in fixed effects; its posterior gives "
        "an interval for each patient",
    )

    def fit_stack(
        self, bags: Sequence[BagLatents], labels: Sequence[Array], seeds: Sequence[int]
    ) -> list[FittedMixedHead]:
        """Choose the prior on inner folds, then find the posterior given all bags."""
        members = [self._prepare(own, seed) for own, seed in zip(bags, seeds, strict=True)]
        folds: list[list[HeadProblem]] = [[] for _ in bags]
        for problem in head_problems(bags, labels, seeds, self.inner_folds):
            if len(problem.test):
                folds[problem.member].append(problem)
        fitted: dict[int, FittedMixedHead] = {}
        for stack in _stacks(members, folds, len(self.strengths) * len(self.weightings)):
            own = [members[m] for m in stack]
            y = torch.stack([torch.as_tensor(labels[m], dtype=torch.float64) for m in stack])
            some = self._fit(own, y, [folds[m] for m in stack])
            fitted |= dict(zip(stack, some, strict=True))
        return [fitted[m] for m in range(len(bags))]

    def _fit(
        self, members: Sequence[_Member], y_mn: Tensor, folds: Sequence[Sequence[HeadProblem]]
    ) -> list[FittedMixedHead]:
        """One stack of members that have as many bags and inner folds."""
        bags = MixedBags(
            *(torch.stack([getattr(own, name) for own in members]) for name in MixedBags._fields)
        )
        strength, weighting = self._grid()
        count = len(strength)
        train = torch.zeros(*y_mn.shape[:1], len(folds[0]), y_mn.shape[1]).double()
        for m, own in enumerate(folds):
            for f, problem in enumerate(own):
                train[m, f, torch.from_numpy(problem.train)] = 1.0
        _, logits = fit_mixed_logistic(
            bags,
            y_mn,
            train.repeat_interleave(count, 1),
            strength.repeat(train.shape[1]),
            weighting.repeat(train.shape[1]),
        )
        test = (1 - train).unsqueeze(2)
        inner = (logits.view(*train.shape[:2], count, -1) * test).sum(1)
        losses = log_losses(inner.numpy(), y_mn.unsqueeze(1).numpy()).mean(-1)
        fitted = []
        for m, member in enumerate(members):
            best = int(losses[m].argmin())
            y = y_mn[m].numpy()
            chosen = chosen_elsewhere(inner[m].numpy(), y, [own.test for own in folds[m]])
            alone = MixedBags(*(part[m : m + 1] for part in bags))
            prior = strength[best : best + 1], weighting[best : best + 1]
            every = torch.ones(1, 1, y_mn.shape[1]).double()
            effects, _ = fit_mixed_logistic(alone, y_mn[m : m + 1], every, *prior)
            covariance = posterior_covariance(alone, effects, every, *prior)
            fitted.append(
                FittedMixedHead(
                    tokens=member.tokens,
                    scaling=member.scaling,
                    fixed=member.fixed,
                    effects=Effects(*(own[0] for own in effects)),
                    covariance=covariance[0, 0],
                    chosen={
                        "strength": float(prior[0]),
                        "weighting": float(prior[1]),
                        "inner_log_loss": float(log_losses(chosen, y).mean()),
                        "inner_log_losses": [float(x) for x in losses[m]],
                        "inner_logits": chosen.tolist(),
                    },
                )
            )
        return fitted

    def restore(self, state: dict[str, Any]) -> FittedMixedHead:
        """The fitted head of a checkpoint."""
        arrays = [own.numpy() for own in state["fixed"]]
        return FittedMixedHead(
            tokens=tuple(Token(*own) for own in state["tokens"]),
            scaling=CellScaling(*(own.numpy() for own in state["scaling"])),
            fixed=FixedEffects(state["extra_names"], *arrays),
            effects=Effects(*state["effects"]),
            covariance=state["covariance"],
            chosen=state["chosen"],
        )

    def _grid(self) -> tuple[Tensor, Tensor]:
        """(p) precisions of effects and of the weighting; the first are the simplest."""
        pairs = [(s, w) for w in sorted(self.weightings, reverse=True) for s in self.strengths]
        strength, weighting = torch.tensor(pairs, dtype=torch.float64).unbind(-1)
        return strength.clone(), weighting.clone()

    def _prepare(self, bags: BagLatents, seed: int) -> _Member:
        """Cells to fit to and fixed effects; no label enters."""
        tokens = tokens_of(bags)
        scaling = CellScaling.fit(bags.latents, np.arange(len(bags.latents)))
        fixed = FixedEffects.fit(bags)
        most = min(self.cells, max(len(z) for z in bags.latents))
        rng = np.random.default_rng([seed, 2])
        x, mask = random_views(bags, range(len(bags.latents)), tokens, scaling, (1, most), rng)
        x = x / np.sqrt(x.shape[-1])
        return _Member(torch.from_numpy(fixed.apply(bags)), x, mask, tokens, scaling, fixed)


@final
@dataclass(frozen=True, kw_only=True)
class FittedMixedHead(ChosenHead):
    """Posterior of one member's effects: their mode, and their covariance about it."""

    tokens: tuple[Token, ...]
    scaling: CellScaling
    fixed: FixedEffects
    effects: Effects
    covariance: Tensor
    chosen: dict[str, Any]

    def logits(self, bags: BagLatents) -> Array:
        """(n) log odds at the posterior mode, fixed effects among them."""
        return self._read(bags)[0]

    def interval(self, bags: BagLatents, level: float) -> Array:
        """(n, 2) bounds of each bag's probability of response, holding `level` of the posterior.

        The logit is linear in the effects near their mode; its variance is what their covariance
        and the bag make of it.

        Raises
        ------
        ValueError
            If `level` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"level of an interval can't be {level}; it lies between 0 and 1")
        logits, derivative = self._read(bags)
        variance = np.einsum("nt,ts,ns->n", derivative, self.covariance.numpy(), derivative)
        reach = NormalDist().inv_cdf(0.5 + level / 2) * np.sqrt(np.maximum(variance, 0.0))
        bounds = np.stack([logits - reach, logits + reach], axis=1)
        interval: Array = torch.sigmoid(torch.from_numpy(bounds)).numpy()
        return interval

    def outputs(self, bags: BagLatents) -> dict[str, Array]:
        """Bounds of each bag's probability of response that hold `LEVEL` of the posterior."""
        return dict(zip(BOUNDS, self.interval(bags, LEVEL).T, strict=True))

    def embedding(self, bags: BagLatents) -> tuple[Array, list[str]]:
        """(n, f + i) fixed effects and the weighted mean of the cells."""
        _, derivative = self._read(bags)
        names = self.fixed.feature_names
        inputs = len(self.effects.value_mpi[0])
        mean = derivative[:, len(names) + 1 : len(names) + 1 + inputs]
        features = np.concatenate([derivative[:, : len(names)], mean], axis=1)
        return features, [*names, *(f"mean:{i}" for i in range(inputs))]

    def state(self) -> dict[str, Any]:
        """Plain Python and tensors."""
        fixed, scaling = self.fixed, self.scaling
        return {
            "tokens": [list(own) for own in self.tokens],
            "scaling": [torch.from_numpy(own) for own in (scaling.mean, scaling.scale)],
            "extra_names": list(fixed.names),
            "fixed": [
                torch.from_numpy(own) for own in (fixed.mean, fixed.scale, fixed.low, fixed.high)
            ],
            "effects": list(self.effects),
            "covariance": self.covariance,
            "chosen": self.chosen,
        }

    def _read(self, bags: BagLatents) -> tuple[Array, Array]:
        """(n) logits and (n, t) their derivatives by the effects, from all cells, bag by bag."""
        effects = [own[0].numpy() for own in self.effects]
        fixed = self.fixed.apply(bags)
        logits, derivatives = [], []
        for n, own in enumerate(fixed):
            mean, slope = self._cells(bags, n, effects[1], effects[2])
            logits.append(own @ effects[0] + mean @ effects[1])
            derivatives.append(np.concatenate([own, mean, slope]))
        return np.array(logits), np.stack(derivatives)

    def _cells(
        self, bags: BagLatents, n: int, value: Array, weighting: Array
    ) -> tuple[Array, Array]:
        """(i) weighted mean of a bag's cells, and how the logit moves with the weighting."""

        def chunks() -> Iterator[Array]:
            for x in all_cells(bags, n, self.tokens, self.scaling):
                yield x[0].numpy() / np.sqrt(x.shape[-1])

        scores = [x @ weighting for x in chunks()]
        if not scores:  # no cell that this head knows
            return np.zeros(len(value)), np.zeros(len(value))
        top = max(own.max() for own in scores)
        total = sum(np.exp(own - top).sum() for own in scores)
        weights = [np.exp(own - top) / total for own in scores]
        mean = np.sum([w @ x for w, x in zip(weights, chunks(), strict=True)], axis=0)
        level = mean @ value
        parts = [(w * (x @ value - level)) @ x for w, x in zip(weights, chunks(), strict=True)]
        return mean, np.sum(parts, axis=0)


class _Member(NamedTuple):
    """One member's bags to fit to."""

    fixed_mnf: Tensor
    x_mnci: Tensor
    mask_mnc: Tensor
    tokens: tuple[Token, ...]
    scaling: CellScaling
    fixed: FixedEffects


def _stacks(
    members: Sequence[_Member], folds: Sequence[Sequence[HeadProblem]], grid: int
) -> Iterator[list[int]]:
    """Members that can be fitted together, and not too many."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for m, (own, of_member) in enumerate(zip(members, folds, strict=True)):
        key = (*own.x_mnci.shape, own.fixed_mnf.shape[1], len(of_member))
        alike.setdefault(key, []).append(m)
    for numbers in alike.values():
        cells = members[numbers[0]].mask_mnc.numel()
        size = max(1, _BYTES // max(1, 8 * cells * grid * len(folds[numbers[0]])))
        for start in range(0, len(numbers), size):
            yield numbers[start : start + size]
