"""The ensemble head: other heads, weighed by how well their inner logits tell the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np

from recart.ranges import Range
from recart.training.heads import Array, BagLatents, FittedHead, Head, HeadWords

__all__ = ["EnsembleHead", "FittedEnsembleHead"]

_STEPS: Final = 500  # of the multiplicative updates, which gain nothing after some hundred
# As many bags as say that all heads are worth the same.
_PRIOR_BAGS: Final = 10.0
# Parts of the patients, each judging the weights that the other parts choose.
_PARTS: Final = 5
# Standard errors of the mean gain over the first head that weights must have.
_PAYS: Final = 2.0


@final
@dataclass(frozen=True, kw_only=True)
class EnsembleHead(Head):
    """Recipe of a weighted mean of the logits of `heads`, by name.

    Weights are not negative and sum to 1. They are the ones with the least log loss of the inner
    logits, in which each bag was left out, plus a pull to equal weights worth ten bags. Where
    weights that four fifths of the patients choose do not tell the last fifth better than the first
    head does, by more than two standard errors over all, the first head speaks alone: with few
    patients a head that knows nothing is else taken for one that knows. A patient's own labels
    choose no weights of its inner logits.
    """

    heads: Mapping[str, Any]

    ranges: ClassVar[Mapping[str, Range]] = {
        "heads": Range(
            "heads by name, one at least",
            lambda x: len(x) > 0 and all(isinstance(own, Head) for own in x.values()),
        )
    }
    words: ClassVar[HeadWords] = HeadWords(
        penalty="that of each head in it; weights of heads are not negative, sum to one, are "
        "pulled to equal ones, and leave the first head alone where they do not pay on patients "
        "that did not choose them",
        predictors="features enter as in each of its heads, standardised on the training patients",
        reading="is a weighted mean of its heads, whose weights stand in its file",
    )

    def fit_stack(
        self, bags: Sequence[BagLatents], labels: Sequence[Array], seeds: Sequence[int]
    ) -> list[FittedEnsembleHead]:
        """Fit every head to all given bags, then the weights to their inner logits."""
        parts: dict[str, Sequence[FittedHead]] = {}
        for name, head in self.heads.items():
            fitted = [(self.heads[other], fits) for other, fits in parts.items()]
            parts[name] = head.fit_beside(bags, labels, seeds, fitted)
        return [
            _weighed({name: head[member] for name, head in parts.items()}, y, own.patients)
            for member, (own, y) in enumerate(zip(bags, labels, strict=True))
        ]

    def restore(self, state: dict[str, Any]) -> FittedEnsembleHead:
        """The fitted heads of a checkpoint."""
        return FittedEnsembleHead(
            parts={name: head.restore(state["parts"][name]) for name, head in self.heads.items()},
            weights=state["weights"],
            inner=(state["inner_logits"], state["inner_loss"]),
        )


@final
@dataclass(frozen=True, kw_only=True)
class FittedEnsembleHead(FittedHead):
    """The fitted heads and their `weights`; `inner` are the logits and log loss of inner folds.

    Each patient's inner logits use weights that other patients chose.
    """

    parts: Mapping[str, FittedHead]
    weights: list[float]
    inner: tuple[list[float], float]

    @property
    def inner_loss(self) -> float:
        """Log loss of the inner logits."""
        return self.inner[1]

    @property
    def inner_logits(self) -> Array:
        """(n) weighted inner logits."""
        return np.array(self.inner[0], dtype=np.float64)

    def logits(self, bags: BagLatents) -> Array:
        """(n) weighted log odds."""
        pairs = zip(self.parts.values(), self.weights, strict=True)
        # heads that do not count are not asked: some go over all cells
        told = [weight * own.logits(bags) for own, weight in pairs if weight]
        total: Array = np.sum(told, axis=0)
        return total

    def embedding(self, bags: BagLatents) -> tuple[Array, list[str]]:
        """(n, f) what each head reads, one head after another."""
        found = {name: own.embedding(bags) for name, own in self.parts.items()}
        names = [f"{name}:{feature}" for name, (_, own) in found.items() for feature in own]
        return np.concatenate([values for values, _ in found.values()], axis=1), names

    def state(self) -> dict[str, Any]:
        """Plain Python and tensors."""
        return {
            "parts": {name: own.state() for name, own in self.parts.items()},
            "weights": self.weights,
            "inner_logits": self.inner[0],
            "inner_loss": self.inner[1],
        }


def _weighed(parts: Mapping[str, FittedHead], labels: Array, patients: Array) -> FittedEnsembleHead:
    logits_hn = np.stack([own.inner_logits for own in parts.values()])
    known = np.flatnonzero(np.isfinite(logits_hn).all(axis=0))
    x_hn, y = logits_hn[:, known], labels[known].astype(np.float64)
    inner = np.full(len(labels), np.nan)
    owner = patients[known]
    for patient in np.unique(owner):
        own = owner == patient
        inner[known[own]] = _chosen(x_hn[:, ~own], y[~own], owner[~own]) @ x_hn[:, own]
    loss = np.logaddexp(0, inner[known]) - y * inner[known]
    return FittedEnsembleHead(
        parts=parts,
        weights=_chosen(x_hn, y, owner).tolist(),
        inner=(inner.tolist(), float(loss.mean())),
    )


def _chosen(x_hn: Array, y: Array, owner: Array) -> Array:
    """(h) the weights where they pay on patients that did not choose them, else the first head's.

    Patients are dealt into parts in the order of their labels, so that parts have both classes.
    """
    code = np.unique(owner, return_inverse=True)[1]
    share = np.bincount(code, y) / np.bincount(code)
    part = np.argsort(np.argsort(share, kind="stable"), kind="stable")[code] % _PARTS
    rest_rn = part != np.arange(_PARTS)[:, None]
    rest_rn = rest_rn[rest_rn.any(axis=1) & ~rest_rn.all(axis=1)]
    *of_rest, of_all = _weights(x_hn, y, np.concatenate([rest_rn, np.ones((1, len(y)), bool)]))
    logits = np.stack([x_hn[0], x_hn[0]])  # of the first head, and as others weigh all heads
    for weights, rest in zip(of_rest, rest_rn, strict=True):
        logits[1, ~rest] = weights @ x_hn[:, ~rest]
    first, weighed = np.logaddexp(0, logits) - y * logits
    gain = np.bincount(code, first - weighed)
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
    if gain.mean() > _PAYS * error:
        chosen: Array = of_all
        return chosen
    alone = np.zeros(len(x_hn))
    alone[0] = 1.0
    return alone


def _weights(x_hn: Array, y: Array, rows_qn: Array) -> Array:
    """(q, h) weights on the simplex with the least penalised log loss of each choice of rows.

    By exponentiated gradient: the loss is convex in the weights and its gradient bounded by the
    logits, which set the step.
    """
    heads = len(x_hn)
    equal = np.full(heads, 1 / heads)
    weights_qh = np.tile(equal, (len(rows_qn), 1))
    largest_q = np.where(rows_qn, np.abs(x_hn).max(axis=0), 1.0).max(axis=1, initial=1.0)
    bags_q = rows_qn.sum(axis=1) + _PRIOR_BAGS
    for step in range(_STEPS):
        p_qn = 1 / (1 + np.exp(-(weights_qh @ x_hn)))
        gradient_qh = (rows_qn * (p_qn - y)) @ x_hn.T + _PRIOR_BAGS * (weights_qh - equal)
        rate_q = 1 / (bags_q * largest_q * np.sqrt(1 + step / 20))
        weights_qh = weights_qh * np.exp(-gradient_qh * rate_q[:, None])
        weights_qh /= weights_qh.sum(axis=1, keepdims=True)
    return weights_qh
