"""Patient bootstrap: whole patients are drawn again, within classes, the same draws for all models.

A resample is a row of bag weights, so every metric is a matrix product over all resamples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from recart.evaluation.intervals import LEVEL, Interval
from recart.evaluation.pairs import pair_wins
from recart.evaluation.patient_codes import patient_codes
from recart.evaluation.predictions import BagScores, FloatArray

__all__ = ["METRIC_DRAWS", "PatientBootstrap"]


@dataclass(frozen=True)
class PatientBootstrap:
    """Resamples of the patients of one set of bags.

    Attributes
    ----------
    weights
        (resample, n) how often each bag is drawn; bags of one patient share their count.
    """

    weights: FloatArray

    @classmethod
    def draw(cls, scores: BagScores, seed: int, n_resamples: int = 2000) -> PatientBootstrap:
        """Draw patients with replacement, as many as there are, within strata of their labels.

        Strata are patients with positive bags only, with negative bags only, and with both, so
        every resample has both classes.
        """
        rng = np.random.default_rng(seed)
        codes = patient_codes(scores.table["patient"], scores.score)
        share = np.bincount(codes, scores.y) / np.bincount(codes)
        stratum = np.where(share == 0, 0, np.where(share == 1, 2, 1))
        counts = np.zeros((n_resamples, codes.max() + 1))
        for kind in range(3):
            (members,) = np.nonzero(stratum == kind)
            if len(members):
                even = np.full(len(members), 1 / len(members))
                counts[:, members] = rng.multinomial(len(members), even, size=n_resamples)
        return cls(counts[:, codes])

    def draws(self, metric: str, scores: BagScores) -> FloatArray:
        """(resample) values of a metric, one of `METRIC_DRAWS`."""
        return METRIC_DRAWS[metric](self.weights, scores)

    def interval(self, metric: str, scores: BagScores, level: float = LEVEL) -> Interval:
        """Percentile interval of a metric, one of `METRIC_DRAWS`."""
        low, high = np.quantile(self.draws(metric, scores), [0.5 - level / 2, 0.5 + level / 2])
        return Interval(
            low=float(low), high=float(high), level=level, method="patient bootstrap, percentile"
        )

    def roc_band(
        self, scores: BagScores, false_positive_rate: FloatArray, level: float = LEVEL
    ) -> tuple[FloatArray, FloatArray]:
        """Pointwise band of the ROC curve at the given false positive rates (each (point))."""
        order, ends = _thresholds(scores.score)
        w = self.weights[:, order]
        y = scores.y[order]
        tpr = _from_zero(_normalised(np.cumsum(w * y, axis=1)[:, ends]))
        fpr = _from_zero(_normalised(np.cumsum(w * (1 - y), axis=1)[:, ends]))
        curves = np.stack(
            [np.interp(false_positive_rate, f, t) for f, t in zip(fpr, tpr, strict=True)]
        )
        low, high = np.quantile(curves, [0.5 - level / 2, 0.5 + level / 2], axis=0)
        return low, high


def _thresholds(score: FloatArray) -> tuple[np.ndarray, np.ndarray]:
    """Bags from the highest score down, and the last position of each run of ties."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.nonzero(np.diff(score[order]))[0], len(score) - 1)
    return order, ends


def _normalised(cumulative: FloatArray) -> FloatArray:
    result: FloatArray = cumulative / cumulative[:, -1:]
    return result


def _from_zero(curve: FloatArray) -> FloatArray:
    return np.concatenate([np.zeros((len(curve), 1)), curve], axis=1)


def _auroc(weights: FloatArray, scores: BagScores) -> FloatArray:
    positive = scores.y > 0.5
    wins, compared = pair_wins(scores)
    w_pos, w_neg = weights[:, positive], weights[:, ~positive]
    pairs = ((w_pos @ compared) * w_neg).sum(axis=1)
    value: FloatArray = ((w_pos @ wins) * w_neg).sum(axis=1) / pairs
    return value


def _auprc(weights: FloatArray, scores: BagScores) -> FloatArray:
    order, ends = _thresholds(scores.score)
    w = weights[:, order]
    hits = np.cumsum(w * scores.y[order], axis=1)[:, ends]
    called = np.cumsum(w, axis=1)[:, ends]
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    recall = _from_zero(_normalised(hits))
    value: FloatArray = (np.diff(recall, axis=1) * precision).sum(axis=1)
    return value


def _mean(weights: FloatArray, value: FloatArray) -> FloatArray:
    mean: FloatArray = (weights @ value) / weights.sum(axis=1)
    return mean


def _sensitivity(weights: FloatArray, scores: BagScores) -> FloatArray:
    return _mean(weights * scores.y, scores.called.astype(float))


def _specificity(weights: FloatArray, scores: BagScores) -> FloatArray:
    return _mean(weights * (1 - scores.y), (~scores.called).astype(float))


def _balanced_accuracy(weights: FloatArray, scores: BagScores) -> FloatArray:
    value: FloatArray = (_sensitivity(weights, scores) + _specificity(weights, scores)) / 2
    return value


def _brier(weights: FloatArray, scores: BagScores) -> FloatArray:
    return _mean(weights, (scores.probability - scores.y) ** 2)


def _brier_skill(weights: FloatArray, scores: BagScores) -> FloatArray:
    reference = _mean(weights, (scores.train_prevalence - scores.y) ** 2)
    value: FloatArray = 1 - _brier(weights, scores) / reference
    return value


METRIC_DRAWS: Mapping[str, Callable[[FloatArray, BagScores], FloatArray]] = {
    "auroc": _auroc,
    "auprc": _auprc,
    "balanced_accuracy": _balanced_accuracy,
    "sensitivity": _sensitivity,
    "specificity": _specificity,
    "brier": _brier,
    "brier_skill": _brier_skill,
}
