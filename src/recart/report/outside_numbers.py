"""What is said of a finished model on another cohort, as numbers and words without a patient."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
from omegaconf import OmegaConf

from recart import __version__
from recart.inference.outside.launch import EvaluatedOutside
from recart.inference.outside.measures import Standing
from recart.report.flow import admission_in_words, cohort_flow, flow_step
from recart.report.numbers import assessed_numbers, plain_numbers
from recart.report.question import FlowStep, LeftOut, Question
from recart.report.wording import RUNGS

__all__ = [
    "counts",
    "outside_flow",
    "outside_numbers",
    "outside_question",
    "provenance",
    "refusals",
]

SCHEMA: Final = "recart-outside-evaluation/1"
_CLASSES: Final = (("positive", 1), ("negative", 0))


def outside_numbers(evaluated: EvaluatedOutside) -> dict[str, Any]:
    """Everything on the page, plain; what is not defined is None."""
    measured, model = evaluated.measured, evaluated.model
    assessment = measured.assessment
    numbers = {
        "schema": SCHEMA,
        "use": model.about["use"],
        "watermark": model.watermark or None,
        "question": asdict(outside_question(evaluated)),
        "claim": {
            "level": int(measured.claim.level),
            "rung": RUNGS[measured.claim.level],
            "headline": measured.claim.headline,
            "text": measured.claim.text,
        },
        "outcome": {"column": evaluated.endpoint.column, "values": evaluated.values},
        "counts": counts(evaluated),
        "refusals": refusals(evaluated),
        "flow": [asdict(step) for step in outside_flow(evaluated)],
        "threshold": measured.threshold,
        "model": None if assessment is None else assessed_numbers(assessment.model),
        # measures alone: their tables are of patients
        "outcomes": [
            asdict(own.model)
            | {"name": own.name, "kind": own.kind, "words": own.words, "refusal": own.refusal}
            for own in measured.outcomes
        ],
        "resamples": None if assessment is None else len(assessment.resampling.weights),
        "subgroups": [asdict(own) for own in measured.subgroups],
        "sets": [asdict(own) for own in measured.sets],
        "before": None if evaluated.before is None else asdict(evaluated.before),
        "provenance": provenance(evaluated),
    }
    return {name: plain_numbers(value) for name, value in numbers.items()}


def outside_question(evaluated: EvaluatedOutside) -> Question:
    """What the model was asked here."""
    store, (yes, no) = evaluated.new.store, evaluated.names
    parts = (
        ["RNA"]
        + ["surface protein"] * bool(store.proteins)
        + ["receptors"] * bool(store.receptor_dim)
    )
    return Question(
        endpoint=evaluated.model.about["endpoint"],
        positive=yes,
        negative=no,
        unit=evaluated.model.unit,
        decision=admission_in_words(evaluated.model.config.data),
        cohort=f"{len(store.patients)} patients, {' + '.join(parts)}",
    )


def counts(evaluated: EvaluatedOutside) -> dict[str, Any]:
    """Bags that counted and that did not, by class where they have one."""
    measured = evaluated.measured
    return {
        "bags": len(measured.standing),
        "no_outcome": measured.count(Standing.NO_OUTCOME),
        "in_training": measured.count(Standing.IN_TRAINING),
        **{
            str(of): {name: measured.count(of, label) for name, label in _CLASSES}
            for of in (Standing.REFUSED, Standing.EVALUATED)
        },
        "neither_known": {
            str(of): int(((measured.standing == of) & measured.labels.isna()).sum())
            for of in (Standing.REFUSED, Standing.EVALUATED)
        },
    }


def refusals(evaluated: EvaluatedOutside) -> list[dict[str, Any]]:
    """How often each rule refused whom of the labelled, the most frequent first."""
    trust, measured = evaluated.model.trust, evaluated.measured
    if trust is None:
        return []
    refused = (measured.standing == Standing.REFUSED).to_numpy()
    reasons = evaluated.found.patients["reasons"].fillna("")[refused].str.split(";")
    labels = measured.labels[refused]
    rows = []
    for rule in {rule.code: rule for rule in trust.policy.in_force}.values():
        own = reasons.map(lambda codes, code=rule.code: code in codes).astype(bool)
        found = {name: int((own & (labels == label)).sum()) for name, label in _CLASSES}
        if any(found.values()):
            rows.append({"code": rule.code, "words": rule.words, **found})
    return sorted(rows, key=lambda row: -(row["positive"] + row["negative"]))


def outside_flow(evaluated: EvaluatedOutside) -> tuple[FlowStep, ...]:
    """Steps from the files to those who were evaluated."""
    model, endpoint = evaluated.model, evaluated.endpoint
    said = {key: model.config.data.get(key) for key in ("decision_day", "timepoints", "tissues")}
    said |= {"unit": model.unit, "endpoint": endpoint.column, "exclude": list(endpoint.exclude)}
    said["limits"] = asdict(evaluated.limits)
    cohort = evaluated.had.cohort
    *before, labelled = cohort_flow(cohort, OmegaConf.create(said))
    standing = evaluated.measured.standing
    label = evaluated.measured.labels
    out = [("were in training", standing == Standing.IN_TRAINING)]
    refused = standing == Standing.REFUSED
    out += [
        (f"refused by the model: {name}", refused & (label == code))
        for name, (_, code) in zip(evaluated.names, _CLASSES, strict=True)
    ]
    out.append(("refused by the model: neither is known", refused & label.isna()))
    left_out = [
        _left_out(reason, flow_step(reason, cohort, np.flatnonzero(which)))
        for reason, which in out
        if which.any()
    ]
    counted = np.flatnonzero(standing == Standing.EVALUATED)
    return (
        *before,
        replace(labelled, name="with an outcome", left_out=tuple(left_out)),
        flow_step("new, and predicted: evaluated", cohort, counted),
    )


def provenance(evaluated: EvaluatedOutside) -> dict[str, str]:
    """Which model, which data, which program."""
    about = evaluated.model.about
    told = {
        "model": evaluated.model.name,
        "claim of the model": about.get("claim_level", "not evaluated"),
        "bundle": about.get("bundle", ""),
        "members": f"{len(evaluated.model.members)}, {about['members']}",
        "SHA-256 of the data": evaluated.input_sha256[:16],
        "seed of the resamples": str(evaluated.seed),
        "recart": __version__,
    }
    return {name: value for name, value in told.items() if value}


def _left_out(reason: str, step: FlowStep) -> LeftOut:
    return LeftOut(reason=reason, patients=step.patients, samples=step.samples, cells=step.cells)
