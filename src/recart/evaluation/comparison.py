"""Paired comparison of the model with a baseline on the same bags and the same resamples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from recart.data.split import Kind
from recart.evaluation.bootstrap import PatientBootstrap
from recart.evaluation.intervals import LEVEL, Interval
from recart.evaluation.predictions import BagScores
from recart.problems import Problem, Problems

__all__ = ["DIFFERENCE_INFLATION", "Difference", "check_same_bags", "compare"]

# factor on the bootstrap standard error of a difference of two cross-validated AUROCs
DIFFERENCE_INFLATION = 1.7


@dataclass(frozen=True, kw_only=True)
class Difference:
    """AUROC of the model minus AUROC of one baseline.

    `interval` decides what may be claimed: bootstrap standard error, widened for cross-validation.
    `bootstrap` is the plain percentile interval of the same resamples, which is too narrow.
    """

    baseline: str
    auroc: float
    interval: Interval
    bootstrap: Interval


def compare(
    model: BagScores,
    baseline: BagScores,
    bootstrap: PatientBootstrap,
    level: float = LEVEL,
    inflation: float = DIFFERENCE_INFLATION,
) -> Difference:
    """Difference in AUROC with paired patient-bootstrap intervals.

    Parameters
    ----------
    model, baseline
        Held-out scores of the two on the same bags.
    bootstrap
        Resamples of the patients, drawn once for all comparisons.
    level
        Nominal coverage.
    inflation
        Factor on the bootstrap standard error; 1 for an outside cohort, which no fold-model has
        seen.

    Raises
    ------
    InputError
        Where the two were not held out on the same bags with the same labels.

    Notes
    -----
    The resamples hold the fold-models fixed, so they miss that another cohort would have trained
    other models. Two equally good ridge models on independent features of the same patients (n =
    20, 40, 80; 200 to 400 simulated cohorts each) differ at a nominal 5 % in 18-25 % of cohorts by
    the plain bootstrap, in 8-12 % with its standard error times 1.4, in 4-7 % times 1.7.
    """
    check_same_bags(model, baseline)
    if model.kind is Kind.EXTERNAL:
        inflation = 1.0  # nothing was cross-validated
    draws = bootstrap.draws("auroc", model) - bootstrap.draws("auroc", baseline)
    observed = float(_pooled(model) - _pooled(baseline))
    reach = float(norm.ppf(0.5 + level / 2) * inflation * draws.std(ddof=1))
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2])
    return Difference(
        baseline=baseline.name,
        auroc=observed,
        interval=Interval(
            low=max(observed - reach, -1.0),
            high=min(observed + reach, 1.0),
            level=level,
            method=f"paired patient bootstrap, SE x {inflation:g}",
        ),
        bootstrap=Interval(
            low=float(low), high=float(high), level=level, method="paired patient bootstrap"
        ),
    )


def _pooled(scores: BagScores) -> float:
    once = PatientBootstrap(np.ones((1, len(scores.y))))
    return float(once.draws("auroc", scores)[0])


def check_same_bags(model: BagScores, baseline: BagScores) -> None:
    """Raise an `InputError` unless both were held out on the same bags with the same labels."""
    problems = Problems()
    if not model.table.index.equals(baseline.table.index):
        missing = model.table.index.symmetric_difference(baseline.table.index)
        problems.error(
            Problem(
                code="E-EVAL-011",
                what=f"{model.name} and {baseline.name} were held out on different bags",
                mend="run the baselines on the folds of this run",
                count=len(missing),
                examples=tuple(map(str, missing[:5])),
            )
        )
    elif not np.array_equal(model.y, baseline.y):
        problems.error(
            Problem(
                code="E-EVAL-012",
                what=f"{model.name} and {baseline.name} were evaluated on different labels",
                mend="run the baselines on the endpoint of this run",
                count=int((model.y != baseline.y).sum()),
            )
        )
    problems.raise_if_any()
