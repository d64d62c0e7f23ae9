"""Every number of the page in plain Python, for the JSON file beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd

from recart.evaluation.assessment import Assessed
from recart.evaluation.audit.finding import Finding
from recart.evaluation.outcomes import OutcomeAssessment
from recart.report.content import ReportContent
from recart.report.wording import RUNGS

__all__ = ["assessed_numbers", "plain_numbers", "report_numbers"]


def report_numbers(content: ReportContent) -> dict[str, Any]:
    """What the page says, by part; what is not defined is None."""
    assessment = content.assessment
    numbers = {
        "question": asdict(content.question),
        "claim": {
            "level": int(assessment.claim.level),
            "rung": RUNGS[assessment.claim.level],
            "headline": assessment.claim.headline,
            "text": assessment.claim.text,
        },
        "flow": [asdict(step) for step in content.flow],
        "left_out": dict(content.left_out),
        "model": assessed_numbers(assessment.model),
        "baselines": [assessed_numbers(baseline) for baseline in assessment.baselines],
        "baselines_left_out": dict(assessment.left_out),
        "differences": [asdict(difference) for difference in assessment.differences],
        "permutation": None if assessment.permutation is None else asdict(assessment.permutation),
        "ledger": (
            None
            if content.ledger is None
            else {"looks": content.ledger.looks, "configurations": content.ledger.configurations}
        ),
        "confounders": [{**asdict(row), "reading": row.reading} for row in content.confounders],
        "associations": [asdict(row) for row in content.associations],
        "audit": None if content.findings is None else [_finding(one) for one in content.findings],
        "predictions": _records(assessment.model.scores.table),
        "per_repeat": _records(assessment.model.per_repeat),
        "resamples": len(assessment.resampling.weights),
        "checklists": [asdict(checklist) for checklist in content.checklists],
        "model_card": [asdict(section) for section in content.card],
        "provenance": dict(content.provenance),
        "notes": list(content.notes),
        "subgroups": [asdict(one) for one in content.subgroups],
        "outcomes": [_outcome(one) for one in content.outcomes],
    }
    return {name: plain_numbers(value) for name, value in numbers.items()}


def assessed_numbers(assessed: Assessed) -> dict[str, Any]:
    """The measures of one model, with their intervals."""
    point = assessed.sensitivity_at_specificity
    return {
        "name": assessed.name,
        "metrics": asdict(assessed.metrics),
        "auroc_interval": (
            None if assessed.auroc_interval is None else asdict(assessed.auroc_interval)
        ),
        "bootstrap": {name: asdict(interval) for name, interval in assessed.bootstrap.items()},
        "calibration": asdict(assessed.calibration),
        "decision_curve": asdict(assessed.decision_curve),
        "sensitivity_at_specificity": None if point is None else asdict(point),
    }


def _outcome(outcome: OutcomeAssessment) -> dict[str, Any]:
    return {**asdict(outcome), "table": _records(outcome.table), "words": outcome.words}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "code": finding.code,
        "severity": finding.severity.name.lower(),
        "what": finding.what,
        "mend": finding.mend,
        "evidence": dict(finding.evidence),
    }


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.reset_index().to_dict(orient="records")


def plain_numbers(value: object) -> object:
    """Nothing but what JSON has; NaN and infinities are None."""
    if isinstance(value, Mapping):
        return {str(key): plain_numbers(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain_numbers(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_numbers(item) for item in value]
    if isinstance(value, Enum) and isinstance(value, str):
        return value.value
    if isinstance(value, np.generic):
        return plain_numbers(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
