"""From held-out predictions to everything that is said about them: model, baselines, claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from recart.evaluation.bootstrap import METRIC_DRAWS, PatientBootstrap
from recart.evaluation.calibration import Calibration, calibration
from recart.evaluation.claims import Claim, claim, lacking_for_more
from recart.evaluation.comparison import Difference, check_same_bags, compare
from recart.evaluation.decision_curve import DecisionCurve, decision_curve
from recart.evaluation.design import PARTITION, FoldDesign
from recart.evaluation.intervals import Interval, auroc_interval
from recart.evaluation.metrics import Metrics, metrics
from recart.evaluation.needed_baselines import not_run
from recart.evaluation.operating_point import OperatingPoint, sensitivity_at_specificity
from recart.evaluation.permutation import Permutation
from recart.evaluation.predictions import BagScores, aggregate
from recart.evaluation.repeats import per_repeat

__all__ = ["Assessed", "Assessment", "assess"]


@dataclass(frozen=True, kw_only=True)
class Assessed:
    """One model or baseline: scores, metrics, interval of the AUROC, and bootstrap intervals.

    `auroc_interval` and `sensitivity_at_specificity` are None where the AUROC is refused.
    `bootstrap` holds the percentile interval of each metric by name. `per_repeat` has one row a
    bag: its probability in each repeat, their mean and spread (`recart.evaluation.repeats`).
    """

    scores: BagScores
    metrics: Metrics
    auroc_interval: Interval | None
    bootstrap: Mapping[str, Interval]
    calibration: Calibration
    decision_curve: DecisionCurve
    sensitivity_at_specificity: OperatingPoint | None
    per_repeat: pd.DataFrame

    @property
    def name(self) -> str:
        """Name of the model or baseline."""
        return self.scores.name


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """The model beside its baselines, and what may be claimed.

    Attributes
    ----------
    model, baselines
        Each with metrics and intervals; baselines from the highest AUROC down.
    differences
        Model minus baseline, in the order of `baselines`; empty where the AUROC is refused.
    claim
        What the numbers allow to say.
    resampling
        The patient resamples that all intervals share.
    permutation
        The AUROC among those of permuted labels; None where no permutation was run.
    left_out
        Baselines that this cohort cannot have, and why.
    """

    model: Assessed
    baselines: tuple[Assessed, ...]
    differences: tuple[Difference, ...]
    claim: Claim
    resampling: PatientBootstrap
    permutation: Permutation | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def best_baseline(self) -> Assessed | None:
        """The baseline with the highest AUROC."""
        return self.baselines[0] if self.baselines else None

    @property
    def headline(self) -> Difference | None:
        """The headline: the model minus the best baseline; None where there is none."""
        return self.differences[0] if self.differences else None


def assess(
    predictions: pd.DataFrame,
    baselines: Mapping[str, pd.DataFrame],
    *,
    endpoint: str,
    seed: int,
    name: str = "recart",
    obstacles: Sequence[str] = (),
    n_resamples: int = 2000,
    permutation: Permutation | None = None,
    design: FoldDesign = PARTITION,
    left_out: Mapping[str, str] | None = None,
) -> Assessment:
    """Compute metrics, intervals, differences and the claim.

    Parameters
    ----------
    predictions
        Held-out predictions of the model (`recart.evaluation.predictions.PREDICTION_COLUMNS`).
    baselines
        The same table for each baseline, by name.
    endpoint
        Name of the endpoint, for the wording.
    seed
        Seed of the patient resamples.
    name
        Name of the model, for tables and figures.
    obstacles
        Reasons that forbid any claim (`recart.evaluation.alignment.aligned_design`).
    n_resamples
        Patient resamples.
    permutation
        The permutation test of the model, where one was run.
    design
        Kind of the split that the predictions come from; of patients of another place the claim
        may be the highest.
    left_out
        Baselines that this cohort cannot have, and why.

    Raises
    ------
    InputError
        Where a table is not usable, or model and baselines differ in bags or labels.
    """
    model_scores = aggregate(predictions, name, design)
    resampling = PatientBootstrap.draw(model_scores, seed, n_resamples)
    model = _assess_one(model_scores, resampling)
    baseline_scores = [aggregate(table, key, design) for key, table in baselines.items()]
    for scores in baseline_scores:
        check_same_bags(model_scores, scores)
    assessed = sorted(
        (_assess_one(scores, resampling) for scores in baseline_scores),
        key=lambda one: one.metrics.auroc or 0.0,
        reverse=True,
    )
    differences: tuple[Difference, ...] = ()
    if not model.metrics.refusal:
        differences = tuple(compare(model_scores, one.scores, resampling) for one in assessed)
    return Assessment(
        model=model,
        baselines=tuple(assessed),
        differences=differences,
        claim=claim(
            model.metrics,
            model.auroc_interval,
            differences,
            _patients_per_class(model_scores),
            endpoint,
            obstacles,
            permutation,
            design.place,
            lacking_for_more(design.kind, not_run(baselines, left_out or ()), permutation),
        ),
        resampling=resampling,
        permutation=permutation,
        left_out=dict(left_out or {}),
    )


def _assess_one(scores: BagScores, resampling: PatientBootstrap) -> Assessed:
    found = metrics(scores)
    undefined = {"auroc", "auprc"} if found.refusal else set()
    if found.brier_skill is None:
        undefined.add("brier_skill")
    return Assessed(
        scores=scores,
        metrics=found,
        auroc_interval=None if found.refusal else auroc_interval(scores),
        bootstrap={
            metric: resampling.interval(metric, scores)
            for metric in METRIC_DRAWS
            if metric not in undefined
        },
        calibration=calibration(scores),
        decision_curve=decision_curve(scores, resampling),
        sensitivity_at_specificity=(
            None if found.refusal else sensitivity_at_specificity(scores, resampling)
        ),
        per_repeat=per_repeat(scores),
    )


def _patients_per_class(scores: BagScores) -> tuple[int, int]:
    by_class = scores.table.groupby("y")["patient"].nunique()
    return int(by_class.get(0, 0)), int(by_class.get(1, 0))
