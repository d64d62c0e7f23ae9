"""Metrics of held-out predictions, per bag (patient or sample), never per cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import rankdata

from recart.data.split import Kind
from recart.evaluation.pairs import pair_auroc
from recart.evaluation.predictions import THRESHOLD, BagScores, FloatArray

__all__ = ["ALONE", "FOLD_GAP", "THRESHOLD", "Metrics", "metrics"]

# pooled and fold-mean AUROC further apart than this are flagged
FOLD_GAP = 0.05

ALONE: Final = (
    "Every held-out fold is one patient: how patients rank among each other was not asked of any "
    "model. Use stratified folds, or pairs where patients are few."
)
"""Why a measure of ranks is refused where each patient is scored by a model of his own."""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What one model's held-out predictions are worth.

    Attributes
    ----------
    n_bags, n_positive, n_patients, n_repeats, n_folds
        Size: bags, positive bags, patients, repeats and folds of one repeat.
    kind
        What the folds are to each other (`recart.data.split.Kind`): what `auroc` is depends on it.
    auroc
        Of pairs held out together: the share that their own model ranks rightly, ties one half. Of
        an outside cohort: that of the members' mean logit. Else pooled: scores
        standardised by fold, averaged over repeats, then one AUROC over all bags. None where it is
        refused.
    auroc_fold_mean
        Mean over folds and repeats of the AUROC inside each held-out fold. None where refused.
    folds_disagree
        True where the two differ by more than `FOLD_GAP`; of folds that are pooled only.
    refusal
        Why no AUROC is given; empty where it is.
    auprc
        Average precision of the same scores; its chance level is `prevalence`. None where the
        AUROC is refused.
    prevalence
        Share of positive bags.
    balanced_accuracy, sensitivity, specificity
        Of the members' calls, each by its own threshold; at probability `THRESHOLD` where a model
        has none.
    brier
        Mean squared difference of probability and label.
    brier_skill
        1 - Brier / Brier of always saying the prevalence of the training patients. Above 0 is
        better than that, 1 is perfect. None with a single fold.
    """

    n_bags: int
    n_positive: int
    n_patients: int
    n_repeats: int
    n_folds: int
    kind: str
    auroc: float | None
    auroc_fold_mean: float | None
    folds_disagree: bool
    refusal: str
    auprc: float | None
    prevalence: float
    balanced_accuracy: float
    sensitivity: float
    specificity: float
    brier: float
    brier_skill: float | None


def metrics(scores: BagScores) -> Metrics:
    """Compute every metric of one model.

    Notes
    -----
    Pooled AUROC over held-out folds of one class is refused: each fold-model's training set then
    holds too many of the other class, and a regularised model on pure noise reads 0.00 to 0.31 at
    20 patients under leave-one-patient-out (Austin et al., Sci. Adv. 2025, "Distributional bias
    compromises leave-one-out cross-validation").
    """
    # torchmetrics takes seconds to import
    import torch
    from torchmetrics.functional.classification import (
        binary_auroc,
        binary_average_precision,
        binary_recall,
        binary_specificity,
    )

    target = torch.from_numpy(scores.y.astype(np.int64))
    # ranks in (0, 1): torchmetrics would put logits through a sigmoid and tie the extreme ones
    rank = torch.from_numpy(_unit_ranks(scores.score))
    called = torch.from_numpy(scores.called.astype(np.float64))
    sensitivity = float(binary_recall(called, target, THRESHOLD))
    specificity = float(binary_specificity(called, target, THRESHOLD))
    brier = float(np.mean((scores.probability - scores.y) ** 2))

    refusal = _refusal(scores)
    fold_mean = None if refusal else _fold_mean(scores)
    auroc = None if refusal else float(binary_auroc(rank, target))
    if scores.kind is Kind.PAIRS and not refusal:
        auroc = fold_mean = pair_auroc(scores)
    return Metrics(
        n_bags=len(scores.y),
        n_positive=int(scores.y.sum()),
        n_patients=len(set(scores.patients)),
        n_repeats=int(scores.folds["repeat"].nunique()),
        kind=str(scores.kind),
        n_folds=int(scores.folds.groupby("repeat")["fold"].nunique().max()),
        auroc=auroc,
        auroc_fold_mean=fold_mean,
        folds_disagree=(
            auroc is not None and fold_mean is not None and abs(auroc - fold_mean) > FOLD_GAP
        )
        and scores.kind in (Kind.PARTITION, Kind.GROUPS),
        refusal=refusal,
        auprc=None if refusal else float(binary_average_precision(rank, target)),
        prevalence=float(scores.y.mean()),
        balanced_accuracy=(sensitivity + specificity) / 2,
        sensitivity=sensitivity,
        specificity=specificity,
        brier=brier,
        brier_skill=_brier_skill(scores, brier),
    )


def _unit_ranks(score: FloatArray) -> FloatArray:
    ranks: FloatArray = rankdata(score) / (len(score) + 1)
    return ranks


def _refusal(scores: BagScores) -> str:
    folds = scores.folds.groupby(["repeat", "fold"])
    classes = folds["y"].nunique()
    single = int((classes < 2).sum())
    if single:
        return (
            f"{single} of {len(classes)} held-out folds hold a single class (leave-one-out does so "
            "always); an AUROC pooled over such folds reads below 0.5 on noise. Use stratified "
            "folds with both classes in each."
        )
    if scores.kind is Kind.GROUPS and (folds["patient"].nunique() == 1).all():
        # each has bags of both classes
        return ALONE
    return ""


def _fold_mean(scores: BagScores) -> float:
    import torch
    from torchmetrics.functional.classification import binary_auroc

    values = [
        float(
            binary_auroc(
                torch.from_numpy(_unit_ranks(fold["logit"].to_numpy(dtype=float))),
                torch.from_numpy(fold["y"].to_numpy(dtype=np.int64)),
            )
        )
        for _, fold in scores.folds.groupby(["repeat", "fold"])
    ]
    return float(np.mean(values))


def _brier_skill(scores: BagScores, brier: float) -> float | None:
    if not np.isfinite(scores.train_prevalence).all():
        return None
    reference = float(np.mean((scores.train_prevalence - scores.y) ** 2))
    return 1 - brier / reference
