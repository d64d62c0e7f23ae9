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
    """Steps (0: the base alone) and strength, and the honest logits that go with them."""

    epochs: int
    strength: float
    gain: float
    logits: Array
    loss: float

    def record(self, base: FittedHead) -> dict[str, Any]:
        """For the checkpoint; without residual the head is the base, and so are its logits."""
        logits, loss = (
            (self.logits, self.loss)
            if self.epochs
            else (
                base.inner_logits,
                base.inner_loss,
            )
        )
        return {
            "epochs": self.epochs,
            "strength": self.strength,
            "gain_over_base": self.gain,
            "inner_log_loss": float(loss),
            "inner_logits": [float(x) for x in logits],
        }


def choose_residual(logits_sen: Array, labels: Array, strengths: Sequence[float]) -> ResidualChoice:
    """The least loss, if it is less than that of the base by more than a standard error."""
    if np.isnan(logits_sen).any():  # too few patients for a choice
        return ResidualChoice(0, 0.0, 0.0, logits_sen[0, 0], np.nan)
    loss_sen = log_losses(logits_sen, labels)
    mean_se = loss_sen.mean(-1)
    s, e = (int(i) for i in np.unravel_index(int(mean_se.argmin()), mean_se.shape))
    gain_n = loss_sen[s, 0] - loss_sen[s, e]
    gain, error = float(gain_n.mean()), float(gain_n.std(ddof=1) / np.sqrt(len(gain_n)))
    epochs = e * EVERY if gain > error else 0
    return ResidualChoice(epochs, float(strengths[s]), gain, logits_sen[s, e], float(mean_se[s, e]))
