"""Measures of ordinal predictions: concordance over levels, AUROC at each cut, ranked scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recart.evaluation.predictions import FloatArray

__all__ = ["ordinal_draws", "ranked_probability"]


def ordinal_draws(
    level: FloatArray,
    score: FloatArray,
    weights: FloatArray,
    levels: Sequence[str],
    probability: FloatArray | None = None,
) -> dict[str, FloatArray]:
    """Each measure under every row of weights.

    Parameters
    ----------
    level, score
        (n) number of the level, and what ranks the bags.
    weights
        (resample, n) how often each bag counts.
    levels
        Names of the levels, worst first.
    probability
        (n, level) held-out probabilities; without them there is no ranked probability score.

    Returns
    -------
    `concordance`: share of pairs of different level that the score orders rightly, ties half (0.5
    is chance). `AUROC >= X`: of level X or better against the rest, where both are there.
    `ranked probability score`: mean squared error of the cumulative probabilities, 0 is perfect,
    and `ranked probability skill`: gain over the shares of the levels among the evaluated bags.
    """
    wins = (score[:, None] > score[None]) + 0.5 * (score[:, None] == score[None])
    better = (level[:, None] > level[None]).astype(float)
    drawn = {"concordance": _pairs(weights, better, wins)}
    for number in np.unique(level)[1:].astype(int):
        above = ((level >= number)[:, None] & (level < number)[None]).astype(float)
        drawn[f"AUROC >= {levels[number]}"] = _pairs(weights, above, wins)
    if probability is not None:
        own = ranked_probability(level, probability)
        total = weights.sum(axis=1)
        score_r = weights @ own / total
        drawn["ranked probability score"] = score_r
        one_hot = np.eye(len(levels))[level.astype(int)]
        share_rl = weights @ one_hot / total[:, None]
        at_most = np.cumsum(one_hot, axis=1)
        expected = np.cumsum(share_rl, axis=1)
        # squared distance of the shares to each bag's level, averaged with the same weights
        reference = (expected * (1 - expected)).sum(axis=1) / (at_most.shape[1] - 1)
        drawn["ranked probability skill"] = 1 - score_r / np.where(reference > 0, reference, np.nan)
    return drawn


def ranked_probability(level: FloatArray, probability: FloatArray) -> FloatArray:
    """(n) ranked probability score of each bag (Epstein 1969), by the number of cuts."""
    told = np.cumsum(probability, axis=1)[:, :-1]
    seen = level[:, None] <= np.arange(probability.shape[1] - 1)
    score: FloatArray = ((told - seen) ** 2).mean(axis=1)
    return score


def _pairs(weights: FloatArray, compared: FloatArray, wins: FloatArray) -> FloatArray:
    """Weighted share of the compared pairs that are won."""
    every = ((weights @ compared) * weights).sum(axis=1)
    won = ((weights @ (compared * wins)) * weights).sum(axis=1)
    share: FloatArray = np.divide(won, every, out=np.full(len(every), np.nan), where=every > 0)
    return share
