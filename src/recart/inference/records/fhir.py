"""A patient record as an HL7 FHIR R4 `RiskAssessment`.

https://hl7.org/fhir/R4/riskassessment.html: probabilities are percentages there.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any, Final

from recart.inference.records.further import FurtherOutput, further_outputs
from recart.inference.trust.conformal import UNDECIDED, set_words

__all__ = ["risk_assessment"]

# levels of an evaluation that claims nothing
_NO_CLAIM: Final = frozenset({None, "L0", "L1"})
# flags of data that may still be completed
_INCOMPLETE: Final = frozenset(
    {
        "low-cell",
        "genes-missing",
        "proteins-missing",
        "no-protein",
        "no-receptor",
        "covariates-missing",
    }
)
_NO_EVENT: Final = ("risk", "posterior")  # what is said besides and is no probability of an event
_RESEARCH: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
    "code": "HRESCH",
    "display": "healthcare research",
}


def risk_assessment(record: Mapping[str, Any], system: str = "") -> dict[str, Any]:
    """The resource of one record.

    The subject is an identifier and no reference: nobody's chart is pointed at. It is the patient
    also where a sample was judged, which is then a basis. Levels, survival and further outcomes are
    predictions after the first; log hazards and bounds have no place there. `status` is `final`
    where a prediction was made from all that the model reads, by a model of which something may be
    claimed, of somebody whom it had not seen; else `preliminary`: something is still to come, be it
    cells, a panel or an evaluation. Where the model refused there is no `prediction`; the note says
    why.

    Parameters
    ----------
    record
        See `patient_records`.
    system
        URI of the naming system of the subject's identifier; without it the identifier stands
        alone.
    """
    notes = [str(record["use"]).capitalize() + "."]
    if record["model"]["watermark"]:
        notes.append(str(record["model"]["watermark"]))
    notes.append(f"What may be claimed of the model: {record['claim_level'] or 'not evaluated'}.")
    if record["flags"]:
        notes.append(f"Flags: {', '.join(record['flags'])}.")
    if record["in_training"]:
        notes.append(f"The {record['unit']} was in the model's training: the claim is not of such.")
    if record["status"] == "refused":
        notes.append(f"No prediction is given. Reasons: {', '.join(record['reasons'])}.")
    resource: dict[str, Any] = {
        "resourceType": "RiskAssessment",
        "meta": {"tag": [_RESEARCH]},
        "text": {"status": "generated", "div": _narrative(record, notes)},
        "status": _status(record),
        "method": {"text": _method(record)},
        "code": {"text": _question(record)},
        "subject": _patient(record, system),
        "occurrenceDateTime": record["made"],
        "note": [{"text": text} for text in notes],
    }
    if basis := _basis(record):
        resource["basis"] = basis
    if record["prediction"] is not None:
        further = [own for own in further_outputs(record) if own.kind not in _NO_EVENT]
        resource["prediction"] = [_prediction(record), *map(_further, further)]
    return resource


def _question(record: Mapping[str, Any]) -> str:
    own = record["question"]
    classes = f"{own['positive']} against {own['negative']}"
    return f"{own['endpoint']}: {classes}" if own["endpoint"] else classes


def _patient(record: Mapping[str, Any], system: str) -> dict[str, Any]:
    if record["patient"] is None:
        return {"type": "Patient", "display": "whose sample this is, which was not told"}
    own = {"value": record["patient"], **({"system": system} if system else {})}
    return {"type": "Patient", "identifier": own}


def _basis(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    basis: list[dict[str, Any]] = []
    if record["unit"] == "sample":
        own = {"value": record["subject"]}
        basis.append({"type": "Specimen", "identifier": own, "display": "the sample"})
    if record["input_sha256"]:
        own = {"value": f"sha256:{record['input_sha256']}"}
        basis.append({"identifier": own, "display": "the file of single cells that was read"})
    return basis


def _status(record: Mapping[str, Any]) -> str:
    complete = not _INCOMPLETE & set(record["flags"])
    claimed = record["claim_level"] not in _NO_CLAIM and record["model"]["watermark"] is None
    claimed = claimed and not record["in_training"]
    return "final" if record["prediction"] is not None and complete and claimed else "preliminary"


def _prediction(record: Mapping[str, Any]) -> dict[str, Any]:
    own = record["prediction"]
    low, high = (_percent(own[name]) for name in ("lowest_member", "highest_member"))
    words = [
        f"Mean of {record['model']['members']} models, which range from {low} to {high} %: their "
        "disagreement, not the error of the prediction."
    ]
    question = record["question"]["positive"], record["question"]["negative"]
    meaning = dict(zip(set_words(question), question, strict=True))
    for level, classes in own["sets"].items():
        if classes is not None:
            said = UNDECIDED.get(len(classes)) or meaning.get(classes[0], classes[0])
            words.append(f"Conformal set at {level} %: {said}.")
    return {
        "outcome": {"text": record["question"]["positive"]},
        "probabilityDecimal": _percent(own["probability"]),
        "rationale": " ".join(words),
    }


def _further(own: FurtherOutput) -> dict[str, Any]:
    return {
        "outcome": {"text": f"{own.of}: {own.text}" if own.of else own.text},
        "probabilityDecimal": _percent(own.value),
        "rationale": "Mean of the models as they were fitted: not calibrated, and nothing is "
        "claimed of it.",
    }


def _percent(share: float) -> float:
    return round(100 * share, 2)


def _method(record: Mapping[str, Any]) -> str:
    model = record["model"]
    return f"recart {model['recart']}, {model['members']} members, {model['members_sha256']}"


def _narrative(record: Mapping[str, Any], notes: list[str]) -> str:
    said = "No prediction is given."
    if record["prediction"] is not None:
        probability = _percent(record["prediction"]["probability"])
        said = f"Probability of {record['question']['positive']}: {probability} %."
    text = html.escape(" ".join([said, *notes]))
    return f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{text}</p></div>'
