"""Interval of a cross-validated AUROC: DeLong on the logit scale, widened for cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from recart.data.split import Kind
from recart.evaluation.pairs import pair_wins
from recart.evaluation.predictions import BagScores, FloatArray

__all__ = ["INFLATION", "LEVEL", "UNMEASURED", "Interval", "auroc_interval", "delong_variance"]

# nominal coverage of every interval
LEVEL = 0.95
# factor on the standard error of a cross-validated AUROC, up to so many patients
INFLATION, _FEW = 1.6, 80
# and from so many on
_LEAST, _MANY = 1.4, 150
# of intervals by kind of split; of stratified folds coverage was measured through the default head
_RIDGE: Final = (
    "the coverage of the AUROC's interval was measured with a plain ridge regression alone, that "
    "of a difference not at all."
)
UNMEASURED: Final = {
    Kind.GROUPS: f"With groups of patients held out in turn {_RIDGE}",
    Kind.EXTERNAL: f"With one set of patients held out for good {_RIDGE}",
    Kind.PAIRS: f"With pairs of patients held out {_RIDGE}",
}


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A two-sided interval and how it was made."""

    low: float
    high: float
    level: float
    method: str

    @property
    def width(self) -> float:
        """High minus low."""
        return self.high - self.low

    def excludes(self, value: float) -> bool:
        """Whether `value` lies outside."""
        return value < self.low or value > self.high


def delong_variance(
    y: FloatArray, score: FloatArray, cluster: Sequence[str] | None = None
) -> tuple[float, float]:
    """AUROC and its DeLong variance, in O(n log n), for independent clusters of bags.

    Parameters
    ----------
    y, score
        (n) labels (0 or 1, both present) and scores.
    cluster
        (n) patient of each bag; None where every bag is a patient of its own.

    Returns
    -------
    AUROC, variance of the AUROC.

    Raises
    ------
    ValueError
        Where a class is missing.

    Notes
    -----
    Placement values by midranks: Sun & Xu, "Fast implementation of DeLong's algorithm", IEEE Signal
    Processing Letters 2014, 21(11). Sums over clusters: Obuchowski, "Nonparametric analysis of
    clustered ROC curve data", Biometrics 1997, 53(2); with one bag a cluster it is DeLong's.
    A variance of zero says nothing. For perfect separation that of one swapped pair stands in,
    half a pair away from the edge; for scores that are all tied, that of Mann & Whitney's U under
    the null.
    """
    positive = y > 0.5
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        raise ValueError(f"DeLong needs both classes: {m} positive and {n} negative bags given")
    pooled = rankdata(score)
    # share of the other class that each bag beats
    place_m = (pooled[positive] - rankdata(score[positive])) / n
    place_n = 1 - (pooled[~positive] - rankdata(score[~positive])) / m
    auroc = float(place_m.mean())

    return auroc, _variance(y, place_m, place_n, cluster)


def _pairs(scores: BagScores) -> tuple[float, float]:
    """AUROC and variance of pairs that were held out together, by the same sums."""
    wins, compared = pair_wins(scores)
    auroc = float(wins.sum() / compared.sum())
    place_m = wins.sum(1) / np.maximum(compared.sum(1), 1)
    place_n = wins.sum(0) / np.maximum(compared.sum(0), 1)
    return auroc, _variance(scores.y, place_m, place_n, scores.patients)


def _variance(
    y: FloatArray, place_m: FloatArray, place_n: FloatArray, cluster: Sequence[str] | None
) -> float:
    """Variance of the AUROC from the share of the other class that each bag beats."""
    positive, m, n = y > 0.5, len(place_m), len(place_n)
    auroc = float(place_m.mean())
    ids = np.arange(len(y)) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    sum_m = np.bincount(ids[positive], place_m - auroc, minlength=ids.max() + 1)
    sum_n = np.bincount(ids[~positive], place_n - auroc, minlength=ids.max() + 1)
    clusters, clusters_m, clusters_n = (
        len(np.unique(of)) for of in (ids, ids[positive], ids[~positive])
    )
    variance = (
        _per_cluster(sum_m, sum_m, clusters_m) / m**2
        + _per_cluster(sum_n, sum_n, clusters_n) / n**2
        + 2 * _per_cluster(sum_m, sum_n, clusters) / (m * n)
    )
    if variance <= 1e-12:
        separated = auroc in (0.0, 1.0)
        variance = 0.5 / (m * n) ** 2 if separated else (m + n + 1) / (12 * m * n)
    return variance


def auroc_interval(
    scores: BagScores, level: float = LEVEL, inflation: float | None = None
) -> Interval:
    """Interval of a cross-validated AUROC, bags clustered by patient.

    Parameters
    ----------
    scores
        Held-out scores of one model.
    level
        Nominal coverage.
    inflation
        Factor on the standard error of the log-odds of the AUROC; None: by the number of patients.
        It is 1 for patients of another place, where nothing was cross-validated. Others that were
        held out for good may have been picked after a look, and keep it.

    Notes
    -----
    Scores of cross-validation are not independent: fold-models share training patients and the
    target is the model trained on everyone. Simulated coverage of a nominal 95 % interval (ridge
    on patient features, n = 20, 40, 80, 150): mean +- SE over five folds 69-81 %, plain logit-scale
    DeLong 82-87 %, patient bootstrap 81-89 %, DeLong with its standard error times 1.4 96-98 %.
    Through the default head, which blends regressions, at ten repeats times 1.4 covers 91 and 88 %
    (n = 20, 40), times 1.6 97, 97 and 98 % (n = 20, 40, 80) but 100 % at 150, where times 1.4
    covers 99 % (`benchmarks/interval_coverage.py`); in between it is interpolated. Of pairs held
    out together (n = 16, 24, 28; ridge): plain 81-91 %, times 1.4 96-99.6 %
    (`benchmarks/pair_coverage.py`), so that times 1.6 is wider than need be. Of an outside cohort
    (n = 16, 24, 40; ridge) without a factor 93-98 %, of one site in five at a time (n = 20, 40, 80;
    ridge) times 1.6 98-99.8 % (`benchmarks/kind_coverage.py`).
    """
    auroc, variance = (
        _pairs(scores)
        if scores.kind is Kind.PAIRS
        else delong_variance(scores.y, scores.score, scores.patients)
    )
    if inflation is None:
        inflation = _inflation(len(set(scores.patients)))
    if scores.elsewhere:
        inflation = 1.0
    edge = 0.5 / (scores.y.sum() * (1 - scores.y).sum())
    centre = min(max(auroc, edge), 1 - edge)
    error = inflation * np.sqrt(variance) / (centre * (1 - centre))
    reach = norm.ppf(0.5 + level / 2) * error
    high = 1.0 if auroc == 1 else float(expit(logit(centre) + reach))
    low = 0.0 if auroc == 0 else float(expit(logit(centre) - reach))
    return Interval(low=low, high=high, level=level, method=f"logit DeLong, SE x {inflation:g}")


def _inflation(patients: int) -> float:
    """Between few and many patients it falls with the logarithm of their number."""
    edges = np.log([_FEW, _MANY])
    return round(float(np.interp(np.log(patients), edges, [INFLATION, _LEAST])), 2)


def _per_cluster(left: np.ndarray, right: np.ndarray, clusters: int) -> float:
    """Sum of products over clusters, with the correction for their number."""
    return float(left @ right) * clusters / max(clusters - 1, 1)
