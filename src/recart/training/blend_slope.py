"""The slope that turns a blend's scores into predictions, fitted to scores of unseen bags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recart.training.endpoints.endpoint import Endpoint
from recart.training.heads import Array

__all__ = ["Slope", "fit_slope"]

# Ridge of the one slope, in units of the SD of the scores.
_STRENGTH: Final = 1.0
# The least slope, so that a blend that explains nothing ranks bags still.
_LEAST: Final = 0.02


class Slope(NamedTuple):
    """Slope and offsets on all inner scores; logits (n) and mean loss by those of other folds."""

    slope: float
    offsets: Tensor
    inner_logits: list[float]
    inner_log_loss: float


def fit_slope(score_n: Tensor, y_n: Tensor, folds: Sequence[Array], endpoint: Endpoint) -> Slope:
    """Solve the endpoint exactly on one feature: each bag's score by what did not see it."""
    inside = torch.zeros(len(score_n), dtype=torch.float64)
    inside[torch.from_numpy(np.concatenate(folds))] = 1.0
    tests = [torch.from_numpy(test) for test in folds]
    train_qn = torch.stack([*(inside.index_fill(0, test, 0.0) for test in tests), inside])
    unit = float(score_n[inside > 0].std(unbiased=False).clamp_min(1e-12))
    count = len(train_qn)
    x_qnf = (score_n / unit).expand(count, -1).unsqueeze(-1)
    y_qn = y_n.expand(count, *y_n.shape)
    strength = torch.full((count, 1), _STRENGTH, dtype=torch.float64)
    coefficients_qsf, offsets_qsk = endpoint.solve(x_qnf, y_qn, train_qn, strength)
    slope_q = coefficients_qsf[:, 0, 0].clamp_min(_LEAST)
    linear_qsn = slope_q[:, None, None] * x_qnf.mT
    hidden = (inside == 0).reshape(-1, *[1] * (y_n.ndim - 1)).expand_as(y_n)
    loss_qsn = endpoint.losses(
        linear_qsn, offsets_qsk, y_qn.masked_fill(hidden, torch.nan), train_qn
    )
    logits_qsn = endpoint.log_odds(linear_qsn, offsets_qsk)
    logits = torch.full_like(score_n, torch.nan)
    total = 0.0
    for q, test in enumerate(tests):
        logits[test] = logits_qsn[q, 0, test]
        total += float(loss_qsn[q, 0, test].sum())
    return Slope(
        slope=float(slope_q[-1]) / unit,
        offsets=offsets_qsk[-1, 0].clone(),
        inner_logits=logits.tolist(),
        inner_log_loss=total / float(inside.sum()),
    )
