"""Paired comparison of the model with a baseline on the same bags, folds and resamples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from recart.data.split import Kind
from recart.evaluation.bootstrap import PatientBootstrap
from recart.evaluation.intervals import INFLATION, LEVEL, Interval, delong_variance
from recart.evaluation.predictions import BagScores, FloatArray
from recart.problems import Problem, Problems

__all__ = ["PAIRS_INFLATION", "RESAMPLED_FACTOR", "Difference", "check_same_bags", "compare"]

# factor on the variance of the corrected resampled test
RESAMPLED_FACTOR = 2.0
# factor on the bootstrap standard error where folds are pairs
PAIRS_INFLATION = 2.0


@dataclass(frozen=True, kw_only=True)
class Difference:
    """AUROC of the model minus AUROC of one baseline.

    `interval` decides what may be claimed. `bootstrap` is the plain percentile interval over
    patient resamples, which holds the fold-models fixed and is too narrow.
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
    factor: float = RESAMPLED_FACTOR,
) -> Difference:
    """Difference in AUROC with its corrected resampled interval, and that of the bootstrap.

    Parameters
    ----------
    model, baseline
        Held-out scores of the two on the same bags.
    bootstrap
        Resamples of the patients, drawn once for all comparisons.
    level
        Nominal coverage.
    factor
        Factor on the variance of the corrected resampled test.

    Raises
    ------
    InputError
        Where the two were not held out on the same bags with the same labels.

    Notes
    -----
    The variance of the differences inside J held-out folds, times 1/J + held out/trained on: fold
    models share training patients (Nadeau & Bengio, "Inference for the generalization error",
    Machine Learning 2003, 52(3)). The interval stands around the pooled difference, which varies
    more than the mean over folds, hence the factor. It is never narrower than the plain bootstrap
    allows. Measured error rates: `benchmarks/type_one.py` and its table in `benchmarks/README.md`.

    Pairs have no AUROC inside a fold, and patients held out for good are one fold: there the
    standard error is that of the bootstrap, for pairs times `PAIRS_INFLATION`, for patients of
    another place as it is, and for others held out for good times `INFLATION`: who picked them may
    have looked.
    """
    check_same_bags(model, baseline)
    draws = bootstrap.draws("auroc", model) - bootstrap.draws("auroc", baseline)
    observed = float(_pooled(model) - _pooled(baseline))
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2])
    spread = float(draws.std(ddof=1))
    if model.kind is Kind.EXTERNAL:
        widened = 1.0 if model.elsewhere else INFLATION
        reach = float(norm.ppf(0.5 + level / 2)) * widened * spread
        method = f"paired patient bootstrap, SE x {widened:g}"
    elif model.kind is Kind.PAIRS:
        reach = float(norm.ppf(0.5 + level / 2)) * PAIRS_INFLATION * spread
        method = f"paired patient bootstrap, SE x {PAIRS_INFLATION:g}"
    else:
        within = _within_folds(model) - _within_folds(baseline)
        error = float(np.sqrt(factor * within.var(ddof=1) * _correction(model)))
        reach = float(student.ppf(0.5 + level / 2, len(within) - 1)) * max(error, spread)
        method = f"corrected resampled t, variance x {factor:g}"
    return Difference(
        baseline=baseline.name,
        auroc=observed,
        interval=Interval(
            low=max(observed - reach, -1.0),
            high=min(observed + reach, 1.0),
            level=level,
            method=method,
        ),
        bootstrap=Interval(
            low=float(low), high=float(high), level=level, method="paired patient bootstrap"
        ),
    )


def _within_folds(scores: BagScores) -> FloatArray:
    """(fold) AUROC inside each held-out fold of each repeat."""
    return np.array(
        [
            delong_variance(fold["y"].to_numpy(dtype=float), fold["logit"].to_numpy(dtype=float))[0]
            for _, fold in scores.folds.groupby(["repeat", "fold"])
        ]
    )


def _correction(scores: BagScores) -> float:
    """1/J + held out/trained on, in bags, averaged over the folds."""
    held_out = scores.folds.groupby(["repeat", "fold"]).size().to_numpy(dtype=float)
    return float(1 / len(held_out) + np.mean(held_out / (len(scores.y) - held_out)))


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
