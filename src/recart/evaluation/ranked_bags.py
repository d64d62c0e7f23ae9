"""Held-out bags as a permutation test sees them: what is known of each, and how it is ranked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.split import Kind
from recart.evaluation.intervals import delong_variance
from recart.evaluation.predictions import BagScores, FloatArray, fold_scores
from recart.training.endpoints import Endpoint, SeveralEndpoints, endpoint_of

__all__ = ["RankedBags", "harrell_concordance", "scored_bags"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class RankedBags:
    """Held-out bags, what is known of them, and how a model ranks them over all folds.

    Attributes
    ----------
    bag, patient
        (n) names.
    targets
        (n) labels or levels, (n, 2) time and event, or those of several endpoints side by side.
    classes
        (n) 0 or 1: of both, folds must keep patients.
    score
        (n) logits that rank bags of all folds (`recart.evaluation.predictions.BagScores`).
    repeats
        Repeats of the cross-validation.
    kind
        What the folds are to each other.
    measure
        Name of `statistic`, which says of targets and scores how well they agree; 0.5 is chance.
    """

    bag: Array
    patient: Array
    targets: Array
    classes: Array
    score: FloatArray
    repeats: int
    kind: Kind
    measure: str
    statistic: Callable[[Array, FloatArray], float]

    @classmethod
    def of_scores(cls, scores: BagScores) -> RankedBags:
        """Bags of a binary endpoint, ranked by AUROC."""
        y = scores.y.astype(np.int64)
        return cls(
            bag=scores.table.index.to_numpy(),
            patient=scores.table["patient"].to_numpy(),
            targets=y,
            classes=y,
            score=scores.score,
            repeats=scores.folds["repeat"].nunique(),
            kind=scores.kind,
            measure="AUROC",
            statistic=_auroc,
        )

    @classmethod
    def of_outcome(cls, predictions: pd.DataFrame, bags: Bags, kind: Kind) -> RankedBags:
        """Bags of any endpoint, by held-out predictions of them; of several, the first ranks."""
        endpoint = endpoint_of(bags)
        scored = scored_bags(predictions, kind)
        rows = bags.table.index.astype(str).get_indexer(scored.index)
        targets = endpoint.targets_of(bags, rows)
        measure, statistic = _STATISTICS[endpoint.kind]
        if isinstance(endpoint, SeveralEndpoints):
            leading, of_leading = endpoint, statistic

            def statistic(targets: Array, score: FloatArray) -> float:
                first: Array = next(iter(leading.targets_by_part(targets).values()))
                return of_leading(first, score)

        return cls(
            bag=scored.index.to_numpy(),
            patient=scored["patient"].to_numpy(),
            targets=targets,
            classes=_kept(endpoint, targets),
            score=scored["score"].to_numpy(dtype=float),
            repeats=predictions["repeat"].nunique(),
            kind=kind,
            measure=measure,
            statistic=statistic,
        )

    @property
    def value(self) -> float:
        """The statistic of these targets and scores."""
        return self.statistic(self.targets, self.score)

    def relabelled(self, source: Array) -> RankedBags:
        """Each bag with the targets of bag `source` (n)."""
        return replace(self, targets=self.targets[source], classes=self.classes[source])


def scored_bags(predictions: pd.DataFrame, kind: Kind) -> pd.DataFrame:
    """`patient` and `score` of each bag (index, text), averaged over members and repeats."""
    frame = predictions.assign(bag=predictions["bag"].astype(str))
    by_fold = (
        frame.groupby(["repeat", "fold", "bag"], sort=True)
        .agg(patient=("patient", "first"), logit=("logit", "mean"))
        .reset_index()
    )
    by_fold["score"] = fold_scores(by_fold, kind)
    return by_fold.groupby("bag").agg(patient=("patient", "first"), score=("score", "mean"))


def harrell_concordance(time: FloatArray, event: FloatArray, score: FloatArray) -> float:
    """Share of comparable pairs of which the one with the event first has the higher score.

    Harrell et al., Stat Med 1996, 15: a pair is comparable where the shorter time ended in the
    event. Equal times are not compared, unless one of them is censored, who lived longer. Ties of
    the score count half.
    """
    sooner = (time[:, None] < time[None]) | ((time[:, None] == time[None]) & (event[None] == 0))
    compared = sooner & (event[:, None] > 0)
    wins = (score[:, None] > score[None]) + 0.5 * (score[:, None] == score[None])
    return float((compared * wins).sum() / compared.sum()) if compared.any() else float("nan")


def _kept(endpoint: Endpoint, targets: Array) -> Array:
    """Classes that folds are stratified by; of survival who had the event, where these are fewer.

    Strata of few events hold others too, and Cox regression can't be fitted to those alone.
    """
    if isinstance(endpoint, SeveralEndpoints):
        targets = next(iter(endpoint.targets_by_part(targets).values()))
        endpoint = endpoint.leading
    if endpoint.kind == "survival" and 2 * targets[:, 1].sum() <= len(targets):
        return targets[:, 1].astype(np.int64)
    return endpoint.strata(targets)[0]


def _auroc(targets: Array, score: FloatArray) -> float:
    return delong_variance(targets.astype(float), score)[0]


def _over_levels(targets: Array, score: FloatArray) -> float:
    return harrell_concordance(-targets.astype(float), np.ones(len(targets)), score)


def _of_times(targets: Array, score: FloatArray) -> float:
    return harrell_concordance(targets[:, 0], targets[:, 1], score)


_STATISTICS = {
    "binary": ("AUROC", _auroc),
    "ordinal": ("concordance", _over_levels),
    "survival": ("C-index (Harrell)", _of_times),
}
