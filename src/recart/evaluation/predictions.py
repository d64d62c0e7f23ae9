"""Held-out predictions: the one table that evaluation reads, checked and brought to one row a bag.

One row of the table is one bag as one member saw it: `bag`, `patient` (pseudonyms), `repeat`,
`fold`, `member`, `y` (0 or 1), `logit`, `probability`, and where the member has one of its own the
`threshold` on its probability above which it calls a bag positive. Within a repeat every bag is
held out in exactly one fold, except where pairs are; members of one fold differ in their seed only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from recart.data.split import Kind
from recart.evaluation.design import PARTITION, FoldDesign
from recart.evaluation.log_odds import finite_log_odds
from recart.problems import Problem, Problems

__all__ = ["PREDICTION_COLUMNS", "THRESHOLD", "BagScores", "aggregate", "fold_scores"]

PREDICTION_COLUMNS = ("bag", "patient", "repeat", "fold", "member", "y", "logit", "probability")

# probability above which a bag is called positive where a model has no threshold of its own
THRESHOLD = 0.5

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

_SCORE_DECIMALS = 9
# logits of one fold that spread less than this are the same
_SAME = 1e-9


@dataclass(frozen=True, kw_only=True)
class BagScores:
    """Held-out scores of one model, one row a bag, and the same by fold.

    Attributes
    ----------
    name
        Name of the model or baseline.
    table
        (n) index: bag. Columns `patient`, `y`, `score`, `logit`, `logit_low`, `logit_high`,
        `probability`, `probability_low`, `probability_high` (range over repeats and members),
        `margin` (log-odds above the threshold) and `train_prevalence` (share of positive bags among
        those its models were trained on).
    folds
        One row per bag and fold that held it out, members averaged: `bag`, `patient`, `repeat`,
        `fold`, `y`, `logit`, `log_odds` (of the probability).
    kind
        What the folds are to each other.
    elsewhere
        Whether the held-out patients are shown to be an outside cohort, see `FoldDesign`.

    Notes
    -----
    `score` ranks bags that different fold-models have scored, so it is the logit standardised by
    the held-out logits of its fold, averaged over repeats. Fold-models differ in two ways that run
    against the held-out labels: an intercept follows the training prevalence (on noise with a
    strong ridge the pooled AUROC reads 0.31 at 23 patients with 8 positives), and a ridge strength
    is weakest where the training patients look easiest, which is where the held-out ones are not.
    Through the default head, 500 simulated cohorts of 20 patients whose true AUROC is 0.68 on
    average read 0.61 with centred and 0.68 with standardised logits. `probability` is the mean
    over repeats and members on the log-odds scale, neither centred nor standardised.

    Models that held out a pair of one positive and one negative patient all had the same class
    balance, and an outside cohort is one fold for all models: there `score` is the mean logit. The
    AUROC of pairs is not of `score` but of the comparisons inside them
    (`recart.evaluation.pairs`).
    """

    name: str
    table: pd.DataFrame
    folds: pd.DataFrame
    kind: Kind = Kind.PARTITION
    elsewhere: bool = False

    @property
    def y(self) -> FloatArray:
        """(n) labels, 0 or 1."""
        return self.table["y"].to_numpy(dtype=float)

    @property
    def score(self) -> FloatArray:
        """(n) logits that rank bags of all folds, standardised by fold where that is needed."""
        return self.table["score"].to_numpy(dtype=float)

    @property
    def probability(self) -> FloatArray:
        """(n) held-out probabilities."""
        return self.table["probability"].to_numpy(dtype=float)

    @property
    def called(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(n) whether the members together call the bag positive, each by its own threshold."""
        return self.table["margin"].to_numpy(dtype=float) > 0

    @property
    def train_prevalence(self) -> FloatArray:
        """(n) share of positive bags in the training patients of each bag's fold-models."""
        return self.table["train_prevalence"].to_numpy(dtype=float)

    @property
    def patients(self) -> list[str]:
        """(n) patient of each bag."""
        return [str(patient) for patient in self.table["patient"]]


def aggregate(predictions: pd.DataFrame, name: str, design: FoldDesign = PARTITION) -> BagScores:
    """Average held-out predictions over members and repeats.

    Parameters
    ----------
    predictions
        Table of held-out predictions, columns `PREDICTION_COLUMNS`; further columns are ignored.
    name
        Name of the model or baseline, for tables and figures.
    design
        Kind of the split that the predictions come from.

    Raises
    ------
    InputError
        Where columns are missing, values are not finite, labels are not 0 or 1 or contradict each
        other, a bag is held out in no fold or in several folds of a repeat, or a patient is in
        several folds of a repeat; or where a fold of pairs does not hold two patients. All problems
        at once.
    """
    _check(predictions, name, design.kind)
    frame = predictions.loc[:, list(PREDICTION_COLUMNS)].copy()
    frame["bag"] = frame["bag"].astype(str)
    frame["patient"] = frame["patient"].astype(str)
    frame["log_odds"] = finite_log_odds(frame["probability"].astype(float))
    threshold = predictions.get("threshold", pd.Series(THRESHOLD, index=predictions.index))
    frame["margin"] = frame["log_odds"] - finite_log_odds(threshold.astype(float))

    by_fold = (
        frame.groupby(["repeat", "fold", "bag"], sort=True)
        .agg(
            patient=("patient", "first"),
            y=("y", "first"),
            logit=("logit", "mean"),
            log_odds=("log_odds", "mean"),
        )
        .reset_index()
    )
    by_fold["score"] = fold_scores(by_fold, design.kind)
    by_fold["train_prevalence"] = _train_prevalence(by_fold, design)

    table = by_fold.groupby("bag").agg(
        patient=("patient", "first"),
        y=("y", "first"),
        score=("score", "mean"),
        logit=("logit", "mean"),
        train_prevalence=("train_prevalence", "mean"),
    )
    spread = frame.groupby("bag").agg(
        logit_low=("logit", "min"),
        logit_high=("logit", "max"),
        log_odds=("log_odds", "mean"),
        margin=("margin", "mean"),
        low=("log_odds", "min"),
        high=("log_odds", "max"),
    )
    table[["logit_low", "logit_high"]] = spread[["logit_low", "logit_high"]]
    table["probability"] = expit(spread["log_odds"])
    table["margin"] = spread["margin"]
    table["probability_low"] = expit(spread["low"])
    table["probability_high"] = expit(spread["high"])
    folds = by_fold[["bag", "patient", "repeat", "fold", "y", "logit", "log_odds"]]
    return BagScores(
        name=name, table=table, folds=folds, kind=design.kind, elsewhere=design.elsewhere
    )


def fold_scores(by_fold: pd.DataFrame, kind: Kind) -> pd.Series[float]:
    """Logits that rank bags of different folds: standardised by fold, see `BagScores`."""
    in_fold = by_fold.groupby(["repeat", "fold"])["logit"]
    scaled = by_fold["logit"]
    if kind in (Kind.PARTITION, Kind.GROUPS):
        scaled = scaled - in_fold.transform("mean")
        within = in_fold.transform("std", ddof=0)
        # a model that says the same of every bag of a fold must not be ranked by rounding errors
        scaled = scaled / within.where(within > _SAME, np.inf)
    rounded: pd.Series[float] = scaled.round(_SCORE_DECIMALS)
    return rounded


def _train_prevalence(by_fold: pd.DataFrame, design: FoldDesign) -> pd.Series[float]:
    if design.prevalence:
        keys = zip(by_fold["repeat"], by_fold["fold"], strict=True)
        return pd.Series([design.prevalence[key] for key in keys], index=by_fold.index)
    in_fold, in_repeat = by_fold.groupby(["repeat", "fold"])["y"], by_fold.groupby("repeat")["y"]
    outside = in_repeat.transform("size") - in_fold.transform("size")
    positive = in_repeat.transform("sum") - in_fold.transform("sum")
    # with a single fold nothing says what the model was trained on
    return (positive / outside.where(outside > 0)).astype(float)


def _check(predictions: pd.DataFrame, name: str, kind: Kind) -> None:
    problems = Problems()
    for column in PREDICTION_COLUMNS:
        if column not in predictions.columns:
            problems.error(
                Problem(
                    code="E-EVAL-001",
                    what=f"predictions of {name} lack a column",
                    mend="write predictions with all columns of a run of evaluate.py",
                    column=column,
                )
            )
    problems.raise_if_any()
    if predictions.empty:
        problems.error(
            Problem(
                code="E-EVAL-002",
                what=f"predictions of {name} are empty",
                mend="train the run to its end before it is evaluated",
            )
        )
    problems.raise_if_any()
    _check_values(predictions, name, problems)
    _check_folds(predictions, name, kind, problems)
    problems.raise_if_any()


def _check_values(predictions: pd.DataFrame, name: str, problems: Problems) -> None:
    for column in ("logit", "probability"):
        values = predictions[column].to_numpy(dtype=float)
        bad = ~np.isfinite(values)
        if column == "probability":
            bad |= (values < 0) | (values > 1)
        if bad.any():
            problems.error(
                Problem(
                    code="E-EVAL-003",
                    what=f"predictions of {name} hold values that are not finite or out of range",
                    mend="look in the training log for the member that diverged",
                    column=column,
                    count=int(bad.sum()),
                    examples=tuple(sorted(set(predictions.loc[bad, "member"].astype(str)))),
                )
            )
    labels = predictions["y"].to_numpy(dtype=float)
    if not np.isin(labels, (0.0, 1.0)).all() or len(set(labels)) < 2:
        problems.error(
            Problem(
                code="E-EVAL-004",
                what=f"labels of {name} are {sorted(set(labels.tolist()))[:5]}, not both 0 and 1",
                mend="evaluate a binary endpoint with patients of both classes",
                column="y",
            )
        )


def _check_folds(predictions: pd.DataFrame, name: str, kind: Kind, problems: Problems) -> None:
    def error(code: str, what: str, mend: str, bad: pd.Series) -> None:
        found = bad.index[bad]
        if len(found):
            problems.error(
                Problem(
                    code=code,
                    what=f"{what} ({name})",
                    mend=mend,
                    count=len(found),
                    examples=tuple(map(str, found[:5])),
                )
            )

    by_bag = predictions.groupby("bag")
    split = "rebuild the split: each bag is held out once a repeat"
    error("E-EVAL-005", "bags have two labels", "give one label a bag", by_bag["y"].nunique() > 1)
    owners = by_bag["patient"].nunique()
    error("E-EVAL-006", "bags have two patients", "give one patient a bag", owners > 1)
    times = predictions.groupby(["bag", "repeat"])["fold"].nunique().groupby("bag")
    if kind is not Kind.PAIRS:
        error("E-EVAL-007", "bags are held out in two folds of a repeat", split, times.max() > 1)
    short = times.size() < predictions["repeat"].nunique()
    error("E-EVAL-008", "bags are not held out in every repeat", split, short)
    if kind is Kind.PAIRS:
        of_fold = predictions.groupby(["repeat", "fold"])["patient"].nunique()
        error("E-EVAL-021", "folds do not hold a pair of patients", split, of_fold != 2)
    else:
        of_patient = predictions.groupby(["patient", "repeat"])["fold"].nunique()
        twice = of_patient.groupby("patient").max() > 1
        error("E-EVAL-009", "patients are in two folds of a repeat", "split by patient", twice)
    rows = predictions.groupby(["bag", "repeat", "fold", "member"]).size().groupby("bag")
    error(
        "E-EVAL-010",
        "bags have two rows for the same repeat, fold and member",
        "write each member's prediction once",
        rows.max() > 1,
    )
