"""Whether the inner folds favour a residual, and with how many steps and how much decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from recart.training.head_problems import log_losses
from recart.training.heads import Array, FittedHead

__all__ = ["EVERY", "ResidualChoice", "choose_residual"]

EVERY: Final = 5
"""Steps between two looks at the inner folds."""


class ResidualChoice(NamedTuple):
    """Steps (0: the base alone) and strength by all inner folds.

    `logits` (n) are those of each fold under the choice of the other folds, NaN where these favour
    the base alone; all of them are, where the base alone is the choice of all folds.
    """

    epochs: int
    strength: float
    gain: float
    logits: Array

    def record(self, base: FittedHead, labels: Array) -> dict[str, Any]:
        """For the checkpoint; where the base alone is favoured, its own inner logits stand."""
        of_base = np.isnan(self.logits)
        logits = np.where(of_base, base.inner_logits, self.logits)
        loss = base.inner_loss if of_base.all() else log_losses(logits, labels).mean()
        return {
            "epochs": self.epochs,
            "strength": self.strength,
            "gain_over_base": self.gain,
            "inner_log_loss": float(loss),
            "inner_logits": [float(x) for x in logits],
        }


def choose_residual(
    logits_sen: Array, labels: Array, strengths: Sequence[float], tests: Sequence[Array]
) -> ResidualChoice:
    """The least loss, if it is less by more than a standard error than that of the base.

    And than that of the share of ones, which knows nothing: a base may be worse on the inner folds,
    and know better of all bags than to say what it said there. The least of many is flattered by
    their number, so what each fold is told under the choice of the others must be better than the
    base by as much. `tests` are the rows of the inner folds. All folds say whether there is a
    residual; which one speaks for a fold, its labels do not choose.
    """
    logits = np.full(len(labels), np.nan)
    if np.isnan(logits_sen).any():  # too few patients for a choice
        return ResidualChoice(0, 0.0, 0.0, logits)
    loss_sen = log_losses(logits_sen, labels)
    s, e, gain = _best(loss_sen, labels)
    for test in tests:
        of_others = _best(np.delete(loss_sen, test, axis=-1), np.delete(labels, test))
        if of_others[1]:
            logits[test] = logits_sen[of_others[0], of_others[1], test]
    told_n = np.where(np.isnan(logits), logits_sen[s, 0], logits)
    if not _beyond_error(loss_sen[s, 0] - log_losses(told_n, labels)):
        e = 0
    if not e:  # the base is what will predict, so its inner logits are what is known of it
        logits[:] = np.nan
    return ResidualChoice(e * EVERY, float(strengths[s]), gain, logits)


def _best(loss_sen: Array, labels: Array) -> tuple[int, int, float]:
    """Strength, steps and gain over the base; no steps without gains beyond their errors."""
    mean_se = loss_sen.mean(-1)
    s, e = (int(i) for i in np.unravel_index(int(mean_se.argmin()), mean_se.shape))
    share = (labels.sum() + 0.5) / (len(labels) + 1)
    of_share_n = log_losses(np.full(len(labels), np.log(share / (1 - share))), labels)
    gains = [rival_n - loss_sen[s, e] for rival_n in (loss_sen[s, 0], of_share_n)]
    return s, e if all(map(_beyond_error, gains)) else 0, float(gains[0].mean())


def _beyond_error(gain_n: Array) -> bool:
    return bool(gain_n.mean() > gain_n.std(ddof=1) / np.sqrt(len(gain_n)))
