"""Who of labelled patients a finished model is measured on, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from recart.data.split import Kind
from recart.evaluation.alignment import aligned_design
from recart.evaluation.assessment import Assessment, assess
from recart.evaluation.claims import Claim, ClaimLevel
from recart.evaluation.design import FoldDesign
from recart.evaluation.log_odds import finite_log_odds
from recart.evaluation.outcomes import OutcomeAssessment, claim_of, outcomes_of
from recart.evaluation.subgroups import Subgroup, subgroups
from recart.inference.outside.outcome import Had
from recart.inference.outside.set_coverage import SetCoverage, set_coverage
from recart.inference.trust.conformal import ConformalSets
from recart.training.decision_rule import DecisionRule

__all__ = ["Measured", "Standing", "measure"]


class Standing(StrEnum):
    """Whether a bag counts, or why not; the first that holds."""

    NO_OUTCOME = "no outcome"
    IN_TRAINING = "in training"
    REFUSED = "refused"
    EVALUATED = "evaluated"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came out.

    Attributes
    ----------
    standing
        (n) of each bag.
    labels
        (n) 1, 0, or NaN where yes or no is not known.
    assessment
        Measures of the bags that were evaluated and are known as yes or no; None where these are
        not of both classes.
    outcomes
        Measures of levels and times, of all bags that were evaluated.
    claim
        What may be said.
    sets
        Coverage of the prediction sets, by level; empty where the model has none.
    subgroups
        Measures within parts of the patients; empty where there is no assessment.
    threshold
        Probability above which the members together call a bag positive.
    """

    standing: pd.Series[Any]
    labels: pd.Series[float]
    assessment: Assessment | None
    outcomes: tuple[OutcomeAssessment, ...]
    claim: Claim
    sets: tuple[SetCoverage, ...]
    subgroups: tuple[Subgroup, ...]
    threshold: float

    def count(self, standing: Standing, label: int | None = None) -> int:
        """Bags of a standing, of one class where a label is given."""
        own = self.standing == standing
        return int((own if label is None else own & (self.labels == label)).sum())


def measure(
    patients: pd.DataFrame,
    had: Had,
    rules: Sequence[DecisionRule],
    *,
    endpoint: str,
    names: tuple[str, str],
    trained: ConformalSets | None,
    by: Sequence[str],
    seed: int,
) -> Measured:
    """Measure what was predicted, as it was predicted.

    Parameters
    ----------
    patients
        The table that `embed.py` writes: one row a bag.
    had
        The outcomes, and the batches and sites that may give them away.
    rules
        Of the members: their thresholds.
    endpoint, names
        Of the outcome and of its two classes, for the wording.
    trained
        Knows how many of the training patients were positive; None: not known.
    by
        Columns of the patients or samples within whose values is measured, too.
    seed
        Of the patient resamples.
    """
    labels, face = had.labels, had.face
    standing = _standing(patients, had.known)
    threshold = float(expit(finite_log_odds(np.array([rule.threshold for rule in rules])).mean()))
    evaluated = (standing == Standing.EVALUATED).to_numpy()
    counted = evaluated & labels.notna().to_numpy()
    rows, y = patients[counted], labels[counted].astype(int)
    predictions = _predictions(patients, had, threshold)
    assessment = None
    if set(y) == {0, 1}:
        table = face.bags.table.assign(label=np.where(counted, labels, -1))
        assessment = assess(
            predictions[counted],
            {},
            endpoint=endpoint,
            seed=seed,
            name="model",
            obstacles=aligned_design(face.store, replace(face.bags, table=table)),
            design=FoldDesign(kind=Kind.EXTERNAL, prevalence=_prevalence(trained), locked=True),
        )
        assessment = _with_range(assessment, rows)
    outcomes: tuple[OutcomeAssessment, ...] = ()
    if evaluated.any():
        outcomes = outcomes_of(
            predictions[evaluated], {}, had.endpoint, seed=seed, kind=Kind.EXTERNAL
        )
    claim = _cannot_tell(y, endpoint, names) if assessment is None else assessment.claim
    return Measured(
        standing=standing,
        labels=labels,
        assessment=assessment,
        outcomes=outcomes,
        claim=claim_of(outcomes[0], claim, finished=True) if outcomes else claim,
        sets=tuple(set_coverage(rows, list(y), names)),
        subgroups=()
        if assessment is None
        else subgroups(assessment.model.scores, face.store, face.bags, by),
        threshold=threshold,
    )


def _predictions(patients: pd.DataFrame, had: Had, threshold: float) -> pd.DataFrame:
    """The table of patients as a table of held-out predictions, with what the bags had."""
    predictions = pd.DataFrame(
        {
            "bag": patients.index.astype(str),
            "patient": _owners(patients),
            "repeat": 0,
            "fold": 0,
            "member": "all members",
            "y": had.labels.fillna(-1).astype(int).to_numpy(),
            "logit": patients["logit_mean"].to_numpy(dtype=float),
            "probability": patients["probability"].to_numpy(dtype=float),
            "threshold": threshold,
        }
    )
    said = patients.filter(regex="^(level|survival|log_odds):")
    told = [own.reset_index(drop=True) for own in (had.targets, said)]
    return pd.concat([predictions, *told], axis=1)


def _owners(rows: pd.DataFrame) -> np.ndarray[Any, Any]:
    """(n) the patient of each bag; only where a bag is a sample has the table a column of them."""
    own = rows["patient"] if "patient" in rows else rows.index.to_series()
    return own.astype(str).to_numpy()


def _standing(patients: pd.DataFrame, has_outcome: pd.Series[bool]) -> pd.Series[Any]:
    known = patients["flags"].fillna("").astype(str).str.split(";")
    trained = known.map(lambda flags: "in-training" in flags)
    standing = pd.Series(str(Standing.EVALUATED), index=patients.index, dtype=object)
    standing[patients["probability"].isna()] = str(Standing.REFUSED)
    standing[trained] = str(Standing.IN_TRAINING)
    standing[~has_outcome] = str(Standing.NO_OUTCOME)
    return standing


def _prevalence(trained: ConformalSets | None) -> dict[tuple[int, int], float]:
    """What the Brier skill is against: always saying the share of positive training patients."""
    if trained is None:
        return {}
    yes, no = trained.patients(1), trained.patients(0)
    return {(0, 0): yes / (yes + no)}


def _with_range(assessment: Assessment, rows: pd.DataFrame) -> Assessment:
    """The same, each bag with the range over the members instead of their mean alone."""
    scores = assessment.model.scores
    own = rows.set_axis(rows.index.astype(str)).loc[scores.table.index]
    table = scores.table.assign(
        probability_low=own["probability_min"], probability_high=own["probability_max"]
    )
    return replace(assessment, model=replace(assessment.model, scores=replace(scores, table=table)))


def _cannot_tell(y: pd.Series[int], endpoint: str, names: tuple[str, str]) -> Claim:
    yes, no = int((y == 1).sum()), int((y == 0).sum())
    return Claim(
        level=ClaimLevel.NOT_IDENTIFIABLE,
        headline=f"This cohort cannot tell whether {endpoint} can be read from the cells",
        sentences=(
            f"Of those who have an outcome, were not in training and got a prediction, {yes} had "
            f"{names[0]} and {no} {names[1]}: without both, nothing can be measured.",
        ),
    )
