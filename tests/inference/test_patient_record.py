"""What is told of a patient: nothing where the model refuses, by schema, and as FHIR."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from recart.data.pseudonyms import Pseudonyms
from recart.inference.new_patients import NewPatients
from recart.inference.records.fhir import risk_assessment
from recart.inference.records.patient_record import (
    Asked,
    check_kinds,
    patient_records,
    record_schema,
)
from recart.inference.records.subjects import subjects_of
from recart.problems import InputError

ABOUT = {
    "recart": "0.1.0",
    "members": "0123456789abcdef",
    "use": "research use only: not for decisions on patients",
    "claim_level": "L2",
}


def _asked(**about: str) -> Asked:
    return Asked(
        about={**ABOUT, **about},
        positive="CR",
        negative="PR, SD",
        unit="patient",
        input_sha256="ab" * 32,
        made="2026-11-27T09:00:00+00:00",
    )


@pytest.fixture
def records(make_new_patients: Callable[..., NewPatients]) -> dict[str, dict[str, Any]]:
    """Two who are predicted, one refused."""
    new = make_new_patients()
    names = [str(bag) for bag in new.patients.index]
    return patient_records(new, _asked(), {name: f"subject-{name}" for name in names})


def test_every_record_follows_the_schema(records: dict[str, dict[str, Any]]) -> None:
    schema = record_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for record in records.values():
        validator.validate(json.loads(json.dumps(record, allow_nan=False)))
    bad = json.loads(json.dumps(records["bag2"]))
    bad["prediction"] = {**records["bag0"]["prediction"], "probability": 0.5}
    with pytest.raises(jsonschema.ValidationError):  # a refusal has no prediction
        validator.validate(bad)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**records["bag0"], "name": "Somebody"})


def test_a_refusal_gives_nothing_to_compute_a_prediction_from(
    records: dict[str, dict[str, Any]], make_new_patients: Callable[..., NewPatients]
) -> None:
    refused = records["bag2"]
    assert (refused["status"], refused["reasons"]) == ("refused", ["R-OOD-LATENT", "R-FEW-CELLS"])
    assert refused["prediction"] is refused["drivers"] is None
    score = make_new_patients().drivers.summary.loc["bag2", "score"]
    assert f"{score:.3f}" not in json.dumps(refused)
    # before anyone refuses, a known patient is told as such
    new = make_new_patients()
    new.patients.loc["bag2", ["reasons", "flags"]] = ["", "in-training"]
    told = patient_records(new, _asked(), {str(bag): "x" for bag in new.patients.index})["bag2"]
    assert told["reasons"] == ["in-training"]


def test_a_prediction_is_told_with_its_sets_and_what_drives_it(
    records: dict[str, dict[str, Any]],
) -> None:
    own = records["bag0"]
    assert own["subject"] == "subject-bag0"
    assert own["prediction"]["sets"] == {"80": ["R"], "90": ["R", "NR"]}
    drivers = own["drivers"]
    total = drivers["base"] + drivers["rest"] + sum(g["contribution"] for g in drivers["groups"])
    assert total == pytest.approx(drivers["score"]) == pytest.approx(own["prediction"]["log_odds"])
    assert own["claim_level"] == "L2"
    assert own["use"].startswith("research use only")


def test_fhir_is_valid(records: dict[str, dict[str, Any]]) -> None:
    for record in records.values():
        resource = json.loads(json.dumps(risk_assessment(record, "urn:oid:1.2.3")))
        # what R4 requires, and what it binds to codes
        assert resource["resourceType"] == "RiskAssessment"
        assert resource["status"] in ("final", "preliminary")
        assert resource["subject"]["identifier"] == {
            "value": record["subject"],
            "system": "urn:oid:1.2.3",
        }
        assert "reference" not in resource["subject"]
        assert "Research use only" in resource["note"][0]["text"]
        pytest.importorskip("fhir.resources", reason="fhir.resources is not installed")
        from fhir.resources.R4B.riskassessment import RiskAssessment

        parsed = RiskAssessment.model_validate(resource)
        assert json.loads(parsed.model_dump_json(exclude_none=True)).keys() == resource.keys()


def test_fhir_says_percent_and_is_final_only_when_nothing_is_to_come(
    records: dict[str, dict[str, Any]], make_new_patients: Callable[..., NewPatients]
) -> None:
    resource = risk_assessment(records["bag0"])
    (prediction,) = resource["prediction"]
    assert prediction["probabilityDecimal"] == pytest.approx(
        100 * records["bag0"]["prediction"]["probability"], abs=0.01
    )
    assert "cannot say" in prediction["rationale"]
    assert resource["status"] == "final"
    assert "system" not in resource["subject"]["identifier"]
    # bag1 lacks proteins: it may still be completed
    assert risk_assessment(records["bag1"])["status"] == "preliminary"
    refused = risk_assessment(records["bag2"])
    assert "prediction" not in refused
    assert refused["status"] == "preliminary"
    assert any("R-OOD-LATENT" in note["text"] for note in refused["note"])
    # neither a model that was never evaluated nor one against its audit gives a final one
    new = make_new_patients()
    names = {str(bag): str(bag) for bag in new.patients.index}
    marked = patient_records(new, _asked(watermark="written against the audit"), names)["bag0"]
    assert risk_assessment(marked)["status"] == "preliminary"
    assert any("against the audit" in n["text"] for n in risk_assessment(marked)["note"])
    new.patients["claim_level"] = ""
    unknown = patient_records(new, _asked(claim_level=""), names)["bag0"]
    assert unknown["claim_level"] is None
    assert risk_assessment(unknown)["status"] == "preliminary"


def test_subjects_are_pseudonyms_unless_something_else_is_chosen(tmp_path: Path) -> None:
    keyed = Pseudonyms(tmp_path / "key")
    id_map = tmp_path / "ids.csv"
    told = subjects_of(["Ann", "Bob"], "pseudonym", "patient", keyed, id_map)
    assert told["Ann"] == keyed.patient("Ann") != "Ann"
    assert "Ann" in id_map.read_text()
    assert id_map.stat().st_mode & 0o077 == 0
    assert subjects_of(["Ann"], "own", "patient", keyed, id_map) == {"Ann": "Ann"}
    table = tmp_path / "names.csv"
    table.write_text("patient,identifier\nAnn,007\nBob,008\n")
    chosen = subjects_of(["Ann", "Bob"], str(table), "patient", keyed, id_map)
    assert chosen == {"Ann": "007", "Bob": "008"}
    with pytest.raises(InputError, match=r"E-OUT-010.*lacks some patients"):
        subjects_of(["Ann", "Cid"], str(table), "patient", keyed, id_map)
    table.write_text("patient,identifier\nAnn,007\nBob,007\n")
    with pytest.raises(InputError, match="one identifier"):
        subjects_of(["Ann", "Bob"], str(table), "patient", keyed, id_map)


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(InputError, match=r"E-OUT-011.*pdf.*json, html, fhir"):
        check_kinds(["json", "pdf"])
