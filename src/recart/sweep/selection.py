"""What choosing the best of several configurations gains by luck alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from recart.sweep.scores import TrialScore

__all__ = ["Selection", "expected_extreme", "selection"]

Array = np.ndarray[Any, np.dtype[np.float64]]

_DRAWS: Final = 2000
_LEVEL: Final = 0.95


@dataclass(frozen=True, kw_only=True)
class Selection:
    """One fold's choice beside what luck gives.

    Attributes
    ----------
    trials
        Trials that came to their end.
    typical, best
        Their mean and least inner loss.
    spread
        SD of a trial's inner loss about the mean of all, were all equally good: by resampled
        patients, NaN where bags have no losses of their own.
    by_formula
        `spread` times the expected extreme of as many independent normal numbers.
    by_chance, low, high
        Mean and middle 95 % of what the best would lie below the mean, were all equally good: their
        losses, patient by patient and with all that they share, moved to one mean.
    """

    trials: int
    typical: float
    best: float
    spread: float
    by_formula: float
    by_chance: float
    low: float
    high: float

    @property
    def gain(self) -> float:
        """What the best lies below the mean."""
        return self.typical - self.best

    @property
    def corrected(self) -> float:
        """The best inner loss without what luck gives on average."""
        return self.best + self.by_chance


def selection(scores: Sequence[TrialScore], groups: Sequence[int], seed: int) -> Selection | None:
    """What the trials of a fold say; None where none came to its end.

    Parameters
    ----------
    scores
        All of them.
    groups
        (n) the patient, or block of patients, of each development bag.
    seed
        Of the resamples.
    """
    done = [own for own in scores if own.state == "complete"]
    if not done:
        return None
    loss_k = np.array([own.scores["inner_loss"] for own in done])
    typical, best = float(loss_k.mean()), float(loss_k.min())
    if len(done) < 2 or not all(len(own.losses) == len(groups) for own in done) or not groups:
        nan = float("nan")
        return Selection(
            trials=len(done),
            typical=typical,
            best=best,
            spread=nan,
            by_formula=nan,
            by_chance=nan,
            low=nan,
            high=nan,
        )
    deviation_bk = _resampled([own.losses for own in done], np.asarray(groups), seed)
    gain_b = -deviation_bk.min(axis=1)
    count = len(done)
    # about the mean of all, of which each is a part
    spread = float(np.sqrt((deviation_bk**2).mean() * count / (count - 1)))
    low, high = np.quantile(gain_b, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Selection(
        trials=count,
        typical=typical,
        best=best,
        spread=spread,
        by_formula=spread * expected_extreme(count),
        by_chance=float(gain_b.mean()),
        low=float(low),
        high=float(high),
    )


def _resampled(losses: Sequence[Sequence[float | None]], groups: Array, seed: int) -> Array:
    """(b, k) mean losses about the mean of all trials, in resamples of patients."""
    loss_kn = np.array([[np.nan if one is None else one for one in own] for own in losses])
    known = np.isfinite(loss_kn).all(axis=0)
    loss_kn, groups = loss_kn[:, known], groups[known]
    loss_kn = loss_kn - loss_kn.mean(axis=1, keepdims=True)  # all equally good
    patients, of_bag = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    weight_bp = rng.multinomial(len(patients), np.full(len(patients), 1 / len(patients)), _DRAWS)
    weight_bn = weight_bp[:, of_bag].astype(np.float64)
    mean_bk = weight_bn @ loss_kn.T / weight_bn.sum(axis=1, keepdims=True)
    deviation: Array = mean_bk - mean_bk.mean(axis=1, keepdims=True)
    return deviation


def expected_extreme(count: int) -> float:
    """Expected largest of `count` independent standard normal numbers.

    1.87 of 20, 2.25 of 50, 2.51 of 100: the integral of `x count phi(x) Phi(x)^(count - 1)`.
    """
    from scipy.stats import norm

    x = np.linspace(-9.0, 9.0, 20_001)
    density = count * norm.pdf(x) * norm.cdf(x) ** (count - 1)
    return float(np.trapezoid(x * density, x))
