"""Answers about the evaluation: folds, measures, comparison, intervals and what they allow."""

from __future__ import annotations

import math
import re
from collections import Counter

from recart.evaluation.audit.finding import Severity
from recart.evaluation.intervals import Interval
from recart.evaluation.outcomes import OutcomeAssessment
from recart.report.facts import RunFacts
from recart.report.fillers.filler import class_name, with_censored

__all__ = [
    "claim",
    "clusters",
    "comparison",
    "confidence",
    "evaluation_method",
    "events",
    "fold_spread",
    "independence",
    "known_limits",
    "measures",
    "performance",
    "result_files",
    "sample_size",
    "split_file",
    "splits",
    "subgroups",
    "train_against_test",
]

_SENSITIVE = re.compile(r"(?i)^(sex|gender|age|race|ethnicity)(_|$)")


def splits(facts: RunFacts) -> str:
    """How the cohort was divided."""
    parts = facts.fit.parts
    return (
        f"{class_name(facts.config.data.folds)}: {facts.fit.split}, by patient. A fold trains on "
        f"{parts['train']}, chooses the epoch on {parts['validation']} and is tested on "
        f"{parts['held_out']}. Split digest {facts.digests['split']}."
    )


def independence(facts: RunFacts) -> str:
    """How parts are kept apart, and what the audit says of it."""
    text = (
        "All samples and cells of a patient stand on one side of every split; overlap is an error. "
        "Each member's file names whom each fitted part saw, and a member that saw a patient whom "
        "it is tested on is refused."
    )
    if facts.findings is None:
        return f"{text} The audit for near-duplicates was not run."
    counts = Counter(one.severity for one in facts.findings)
    return (
        f"{text} Audit: {counts[Severity.PASSED]} passed, {counts[Severity.UNKNOWN]} unknown, "
        f"{counts[Severity.WARNING]} warnings, {counts[Severity.LEAK]} leaks."
    )


def split_file(facts: RunFacts) -> str:
    """Where the split stands."""
    return (
        f"The split is the run's split.json (digest {facts.digests['split']}), with pseudonyms "
        "instead of patients."
    )


def evaluation_method(facts: RunFacts) -> str:
    """How the model was evaluated."""
    if facts.fit.outside:
        return (
            f"{facts.fit.split}: none of these patients took part in any fitting or choice; the "
            "mean of the models predicts them."
        )
    return (
        f"Cross-validation by patient, {facts.fit.split}, the whole pipeline refitted in each: "
        "genes, encoder, head and all that these choose. Internal validation only."
    )


def measures(facts: RunFacts) -> str:
    """Measures that are given."""
    text = "Per patient, never per cell: "
    for outcome in facts.outcomes:
        text += f"of {outcome.name} {', '.join(outcome.model.values) or 'nothing'}; "
    if _leading(facts):
        text += f"of {facts.question.positive} against {facts.question.negative} "
    text += (
        "AUROC, AUPRC, balanced accuracy, sensitivity at fixed "
        "specificity, Brier score and skill, calibration in the large and slope, decision curve, "
        "ROC curve"
    )
    if facts.assessment.model.calibration.curve_refusal:
        return f"{text}. No calibration curve: too few events or non-events."
    return f"{text}, calibration curve."


def comparison(facts: RunFacts) -> str | None:
    """Baselines in the same folds."""
    names = [one.name for one in facts.assessment.baselines]
    if not names:
        return None
    return f"In the same folds on the same patients: {', '.join(names)}."


def confidence(facts: RunFacts) -> str:
    """Intervals and tests."""
    interval = facts.assessment.model.auroc_interval
    text = "Patient bootstrap for all measures"
    if interval is not None:
        text = f"AUROC: {interval.method}, {_span(interval)}; {text[0].lower()}{text[1:]}"
    lead = facts.assessment.headline
    if lead is not None:
        text += (
            f"; difference to the best baseline, {lead.baseline}: {_number(lead.auroc)} "
            f"({_span(lead.interval, signed=True)}), {lead.interval.method}"
        )
    permutation = facts.assessment.permutation
    if permutation is not None and permutation.p is not None:
        text += f"; permuted labels: p = {permutation.p:.3g} over {permutation.k}"
    return f"{text}."


def performance(facts: RunFacts) -> str | None:
    """Estimates with intervals."""
    model, first = facts.assessment.model, ""
    if outcome := _leading(facts):
        span = _span(outcome.model.intervals[outcome.measure])
        first = f"{outcome.measure} {outcome.value:.2f} ({span}), {outcome.words}; as yes or no, "
        first += f"{facts.question.positive}: "
    if model.metrics.auroc is None or model.auroc_interval is None:
        return f"{first}No AUROC: {model.metrics.refusal} Brier score {model.metrics.brier:.2f}."
    text = f"{first}AUROC {model.metrics.auroc:.2f} ({_span(model.auroc_interval)})"
    for name, key in (("AUPRC", "auprc"), ("Brier score", "brier"), ("Brier skill", "brier_skill")):
        value, interval = getattr(model.metrics, key), model.bootstrap.get(key)
        if value is not None and interval is not None:
            text += f"; {name} {value:.2f} ({_span(interval)})"
    calibration = model.calibration
    text += (
        f"; calibration in the large {_number(calibration.in_the_large)} "
        f"({_span(calibration.in_the_large_interval, signed=True)})"
    )
    if calibration.slope is not None and calibration.slope_interval is not None:
        text += f", slope {_number(calibration.slope, signed=False)}"
        text += f" ({_span(calibration.slope_interval)})"
    return f"{text}. Plots in the report."


def sample_size(facts: RunFacts) -> str:
    """Patients, events and how wide the interval is."""
    metrics, interval = facts.assessment.model.metrics, facts.assessment.model.auroc_interval
    text = f"{metrics.n_patients} patients, {metrics.n_positive} positive {facts.question.unit}s"
    text += with_censored(facts)
    if interval is not None:
        text += f"; the interval of the AUROC is {interval.width:.2f} wide"
    return f"{text}."


def events(facts: RunFacts) -> str:
    """Participants and events in each analysis."""
    parts = facts.fit.parts
    return (
        f"Each fold: training {parts['train']}, choice of the epoch {parts['validation']}, choice "
        f"of the head's strength on both together, evaluation {parts['held_out']}."
    )


def clusters(facts: RunFacts) -> str:
    """How clusters were looked at."""
    levels = facts.cohort.levels
    if not levels:
        return "No column names sites, batches or products: differences between them can't be seen."
    named = ", ".join(f"{count} of {name}" for name, count in levels.items())
    return (
        f"Levels in the tables: {named}. A baseline that sees nothing else belongs into every "
        "run, and a column that is aligned with the endpoint forbids any claim."
    )


def fold_spread(facts: RunFacts) -> str | None:
    """Mean over folds beside the pooled estimate."""
    mean = facts.assessment.model.metrics.auroc_fold_mean
    return None if mean is None else f"AUROC as a mean over folds: {mean:.2f}."


def subgroups(facts: RunFacts) -> str:
    """Subgroups that were looked at, and that could be."""
    measured = list(dict.fromkeys(one.column for one in facts.subgroups if one.auroc is not None))
    found = [name for name in facts.cohort.columns if _SENSITIVE.search(name)]
    left = [name for name in found if name not in measured]
    parts = []
    if measured:
        parts.append(f"AUROC and mean probability were computed by {', '.join(measured)}.")
    if not found:
        parts.append(
            "The patient table names neither sex nor age, so performance can't be told by them."
        )
    if left:
        parts.append(f"The patient table has {', '.join(left)}; nothing was computed by these.")
    return " ".join(parts)


def train_against_test(facts: RunFacts) -> str:
    """Differences of training and evaluation data."""
    parts = facts.fit.parts
    if facts.fit.outside:
        return (
            f"Evaluated on {_held_out(facts)}, with the same endpoint, rules and predictors. "
            f"Training {parts['train']} a model, held out {parts['held_out']}."
        )
    return (
        "None by design: in cross-validation patients are in training and in evaluation in turn, "
        f"with the same endpoint and predictors. Training {parts['train']}, evaluation "
        f"{parts['held_out']} a fold."
    )


def result_files(facts: RunFacts) -> str:
    """Where the results stand."""
    del facts
    return "The run's folder holds predictions.csv (pseudonyms), metrics.json and report.json."


def claim(facts: RunFacts) -> str:
    """What the numbers allow to say."""
    own = facts.assessment.claim
    return f"What these numbers allow to say: {own.headline}. {own.text}"


def known_limits(facts: RunFacts) -> str:
    """Limits that every such evaluation has."""
    metrics = facts.assessment.model.metrics
    where = "of an outside cohort" if facts.fit.elsewhere else "and no outside cohort"
    return (
        f"{metrics.n_patients} patients{with_censored(facts)}, {where}; association, no cause. The "
        "report lists what is not claimed."
    )


def _leading(facts: RunFacts) -> OutcomeAssessment | None:
    """What was measured of the whole endpoint where it is more than yes or no."""
    known = [own for own in facts.outcomes if own.leads and math.isfinite(own.value)]
    return known[0] if known else None


def _held_out(facts: RunFacts) -> str:
    return "an outside cohort" if facts.fit.elsewhere else "patients who were held out for good"


def _span(interval: Interval, signed: bool = False) -> str:
    return f"{_number(interval.low, signed)} to {_number(interval.high, signed)}"


def _number(value: float, signed: bool = True) -> str:
    text = f"{value:+.2f}" if signed else f"{value:.2f}"
    return text.replace("-", "\N{MINUS SIGN}")
