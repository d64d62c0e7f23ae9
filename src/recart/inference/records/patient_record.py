"""One JSON record a patient: what was predicted or why not, by which model, from which data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.inference.new_patients import NewPatients
from recart.inference.records.further import FURTHER
from recart.problems import InputError, Problem

__all__ = [
    "KINDS",
    "Asked",
    "check_kinds",
    "patient_records",
    "record_schema",
]

KINDS: Final = ("json", "html", "fhir")

SCHEMA: Final = "recart-patient-record/1"
_TOP: Final = 20  # features that are told
_SETS: Final = ("80", "90")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What stands in every record beside the patient.

    Attributes
    ----------
    about
        What is said of the model: versions, hash of the members, endpoint, claim level, use, a
        watermark.
    positive, negative
        Names of the two classes of what is predicted.
    unit
        What one prediction is made for: `patient` or `sample`.
    input_sha256
        Of the files that were read; of the counts where there was none, as of a simulated cohort.
    made
        When, in ISO 8601 with the offset from UTC.
    further
        Names of the two classes of each further outcome that is predicted beside.
    owners
        Identifier of the patient of each sample, where the unit is a sample; None: not known.
    """

    about: Mapping[str, str]
    positive: str
    negative: str
    unit: str
    input_sha256: str
    made: str
    further: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    owners: Mapping[str, str | None] = field(default_factory=dict)


def check_kinds(names: Sequence[str]) -> None:
    """Refuse kinds of reports that there are not.

    Raises
    ------
    InputError
        Naming all of them.
    """
    unknown = tuple(name for name in names if name not in KINDS)
    if unknown:
        problem = Problem(
            code="E-OUT-011",
            what=f"unknown reports: {', '.join(unknown)}",
            mend=f"choose among {', '.join(KINDS)}, or reports=[]",
            column="reports",
        )
        raise InputError([problem])


def patient_records(
    new: NewPatients, asked: Asked, subjects: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """The record of every bag, by its name in the table; plain Python throughout.

    A patient who is refused has no prediction, nor anything that it could be computed from.

    Parameters
    ----------
    new
        The patients.
    asked
        What all records have in common.
    subjects
        What each bag is called in its record: a pseudonym, or an identifier of the user's choice.
    """
    return {
        str(bag): _record(row, str(bag), subjects[str(bag)], new, asked)
        for bag, row in new.patients.iterrows()
    }


def record_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) that every record follows."""
    place = files("recart.inference.records").joinpath("patient_record.schema.json")
    schema: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return schema


def _record(
    row: pd.Series[Any], bag: str, subject: str, new: NewPatients, asked: Asked
) -> dict[str, Any]:
    predicted = math.isfinite(float(row["probability"]))
    about = dict(asked.about)
    reasons = _words(row.get("reasons", ""))
    flags = _words(row["flags"])
    if not predicted and not reasons:
        reasons = [flag for flag in flags if flag == "in-training"] or ["no-prediction"]
    record = {
        "schema": SCHEMA,
        "use": about.pop("use", "research use only: not for decisions on patients"),
        "made": asked.made,
        "subject": subject,
        "patient": subject if asked.unit == "patient" else asked.owners.get(bag),
        "unit": asked.unit,
        "status": "predicted" if predicted else "refused",
        "reasons": [] if predicted else reasons,
        "question": {
            "endpoint": about.get("endpoint") or None,
            "positive": asked.positive,
            "negative": asked.negative,
            "further": {
                name: {"positive": yes, "negative": no} for name, (yes, no) in asked.further.items()
            },
        },
        "prediction": _prediction(row) if predicted else None,
        "drivers": _drivers(bag, new) if predicted else None,
        "claim_level": row.get("claim_level") or about.pop("claim_level", "") or None,
        "flags": flags,
        "coverage": {
            "cells": int(row["n_cells"]),
            "samples": int(row["n_samples"]),
            "genes": float(row["gene_coverage"]),
            "proteins": float(row["protein_coverage"]),
            "known_batch": bool(row["known_batch"]),
        },
        "out_of_distribution_cells": _number(row.get("ood_cells")),
        "in_training": bool(row.get("in_training", "in-training" in flags)),
        "model": {
            "recart": about.get("recart", ""),
            "members": int(row["members"]),
            "members_sha256": about.get("members", ""),
            "bundle_sha256": about.get("bundle") or None,
            "watermark": about.get("watermark") or None,
        },
        "input_sha256": asked.input_sha256 or None,
    }
    plain: dict[str, Any] = _plain(record)
    return plain


def _prediction(row: pd.Series[Any]) -> dict[str, Any]:
    more = [name for name in row.index if str(name).partition(":")[0] in FURTHER]
    return {
        "probability": row["probability"],
        "lowest_member": row["probability_min"],
        "highest_member": row["probability_max"],
        "log_odds": row["logit_mean"],
        "log_odds_sd": row["logit_sd"],
        "sets": {level: _set(row.get(f"set_{level}")) for level in _SETS},
        "further": {str(name): row[name] for name in more},
    }


def _set(text: object) -> list[str] | None:
    """Classes in a conformal set as the table writes it: `{R}`, `{R, NR}: cannot say`."""
    if not isinstance(text, str) or "}" not in text:
        return None
    inner = text[text.index("{") + 1 : text.index("}")]
    return [name.strip() for name in inner.split(",") if name.strip()]


def _drivers(bag: str, new: NewPatients) -> dict[str, Any]:
    summary = new.drivers.summary.loc[bag]
    groups, features = (
        table[table["bag"] == bag].drop(columns="bag")
        for table in (new.drivers.groups, new.drivers.features)
    )
    attributed = None
    if new.attribution is not None:
        own = new.attribution.of_bags.loc[bag]
        attributed = {
            "method": new.attribution.method,
            "base": own["base"],
            "rest": own["rest"],
        }
    return {
        "scale": new.drivers.scale,
        **{name: summary[name] for name in ("base", "rest", "score")},
        "groups": groups.to_dict(orient="records"),
        "features": features.head(_TOP).to_dict(orient="records"),
        "cells": attributed,
    }


def _words(text: object) -> list[str]:
    return [word for word in str(text).split(";") if word] if isinstance(text, str) else []


def _number(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    """Nothing but what JSON has; NaN and infinities are None."""
    if isinstance(value, dict):
        return {str(key): _plain(own) for key, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(own) for own in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
