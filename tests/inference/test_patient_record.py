"""What is told of a patient: nothing where the model refuses, by schema, and as FHIR."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from recart.data.pseudonyms import Pseudonyms
from recart.inference.new_patients import NewPatients
from recart.inference.records.fhir import risk_assessment
from recart.inference.records.further import further_outputs
from recart.inference.records.patient_record import (
    Asked,
    check_kinds,
    patient_records,
    record_schema,
)
from recart.inference.records.subjects import owners_of, subjects_of
from recart.problems import InputError

ABOUT = {
    "recart": "0.1.0",
    "members": "0123456789abcdef",
    "use": "research use only: not for decisions on patients",
    "claim_level": "L2",
    "endpoint": "best_response",
}
# beside the leading levels: survival, and a part whose name is also a level's
FURTHER = {
    "level:PD": 0.25,
    "level:crs": 0.75,
    "log_odds:pfs": -1.0,
    "risk:pfs": 0.5,
    "survival:6:pfs": 0.625,
    "log_odds:crs": 0.0,
    "level:2:crs": 0.125,
}


def _asked(**about: str) -> Asked:
    return Asked(
        about={**ABOUT, **about},
        positive="CR",
        negative="PR, SD",
        unit="patient",
        input_sha256="ab" * 32,
        made="2026-11-27T09:00:00+00:00",
        further={"pfs": ("event by month 6", "none by month 6"), "crs": ("grade 2", "below 2")},
    )


@pytest.fixture
def records(make_new_patients: Callable[..., NewPatients]) -> dict[str, dict[str, Any]]:
    """Two who are predicted, one refused."""
    new = make_new_patients()
    names = [str(bag) for bag in new.patients.index]
    return patient_records(new, _asked(), {name: f"subject-{name}" for name in names})


@pytest.fixture
def several(make_new_patients: Callable[..., NewPatients]) -> dict[str, dict[str, Any]]:
    """The same, predicted with further outcomes."""
    new = make_new_patients()
    predicted = new.patients["probability"].notna()
    for name, value in FURTHER.items():
        new.patients[name] = predicted.map({True: value, False: float("nan")})
    return patient_records(new, _asked(), {str(bag): str(bag) for bag in new.patients.index})


def _validated(resource: dict[str, Any]) -> dict[str, Any]:
    pytest.importorskip("fhir.resources", reason="fhir.resources is not installed")
    from fhir.resources.R4B.riskassessment import RiskAssessment

    plain: dict[str, Any] = json.loads(json.dumps(resource))
    parsed = RiskAssessment.model_validate(plain)
    assert json.loads(parsed.model_dump_json(exclude_none=True)).keys() == plain.keys()
    return plain


def test_every_output_of_an_endpoint_stands_in_json_and_fhir(
    several: dict[str, dict[str, Any]],
) -> None:
    own = several["bag0"]
    assert own["prediction"]["further"] == FURTHER
    told = {(found.of, found.text): found.value for found in further_outputs(own)}
    assert told == {
        ("", "level PD"): 0.25,
        ("", "level crs"): 0.75,
        ("pfs", "event by month 6"): pytest.approx(0.268941, abs=1e-6),
        ("pfs", "log hazard, against the mean patient"): 0.5,
        ("pfs", "no event by month 6"): 0.625,
        ("crs", "grade 2"): 0.5,
        ("crs", "level 2"): 0.125,
    }
    first, *more = _validated(risk_assessment(own))["prediction"]
    assert first["outcome"]["text"] == "CR"
    assert {one["outcome"]["text"]: one["probabilityDecimal"] for one in more} == {
        "level PD": 25,
        "level crs": 75,
        "pfs: event by month 6": 26.89,
        "pfs: no event by month 6": 62.5,
        "crs: grade 2": 50,
        "crs: level 2": 12.5,
    }
    assert all("not calibrated" in one["rationale"] for one in more)
    # who is refused is told nothing of it
    assert further_outputs(several["bag2"]) == []
    assert "prediction" not in risk_assessment(several["bag2"])
    validator = jsonschema.Draft202012Validator(record_schema())
    for record in several.values():
        validator.validate(json.loads(json.dumps(record, allow_nan=False)))


def test_fhir_asks_what_the_model_was_asked(records: dict[str, dict[str, Any]]) -> None:
    resource = risk_assessment(records["bag0"])
    assert resource["code"]["text"] == "best_response: CR against PR, SD"
    assert "CAR T" not in json.dumps(resource)  # nobody said that it was
    question = {**records["bag0"]["question"], "endpoint": None}
    unnamed = risk_assessment({**records["bag0"], "question": question})
    assert unnamed["code"]["text"] == "CR against PR, SD"


def test_a_sample_is_no_patient(make_new_patients: Callable[..., NewPatients]) -> None:
    new = make_new_patients()
    names = {str(bag): f"S-{bag}" for bag in new.patients.index}
    asked = replace(_asked(), unit="sample", owners={"bag0": "P-1", "bag1": None, "bag2": "P-2"})
    records = patient_records(new, asked, names)
    validator = jsonschema.Draft202012Validator(record_schema())
    for record in records.values():
        validator.validate(json.loads(json.dumps(record, allow_nan=False)))
    own = _validated(risk_assessment(records["bag0"], "urn:x"))
    assert own["subject"] == {"type": "Patient", "identifier": {"value": "P-1", "system": "urn:x"}}
    assert own["basis"][0]["type"] == "Specimen"
    assert own["basis"][0]["identifier"] == {"value": "S-bag0"}
    unknown = _validated(risk_assessment(records["bag1"], "urn:x"))
    assert "identifier" not in unknown["subject"]
    assert unknown["subject"]["display"]
    assert next(one["identifier"]["value"] for one in unknown["basis"]) == "S-bag1"


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
        _validated(resource)


def test_fhir_says_percent_and_is_final_only_when_nothing_is_to_come(
    records: dict[str, dict[str, Any]], make_new_patients: Callable[..., NewPatients]
) -> None:
    resource = risk_assessment(records["bag0"])
    (prediction,) = resource["prediction"]
    assert prediction["probabilityDecimal"] == pytest.approx(
        100 * records["bag0"]["prediction"]["probability"], abs=0.01
    )
    assert "cannot say" in prediction["rationale"]
    empty = {**records["bag0"]["prediction"], "sets": {"80": []}}
    (neither,) = risk_assessment({**records["bag0"], "prediction": empty})["prediction"]
    assert "Conformal set at 80 %: like neither." in neither["rationale"]
    assert resource["status"] == "final"
    # a set names its class by what it means, and a model of which nothing is claimed is not done
    own = records["bag0"]["prediction"]["sets"]
    assert own["80"] == ["R"]
    assert f"set at 80 %: {records['bag0']['question']['positive']}." in prediction["rationale"]
    assert risk_assessment({**records["bag0"], "claim_level": "L0"})["status"] == "preliminary"
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
    seen = risk_assessment({**records["bag0"], "in_training": True})
    assert seen["status"] == "preliminary"
    assert any("in the model's training" in note["text"] for note in seen["note"])
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


def test_samples_have_patients_of_the_same_naming(tmp_path: Path) -> None:
    keyed, id_map = Pseudonyms(tmp_path / "key"), tmp_path / "ids.csv"
    of = {"tube1": "Ann", "tube2": "Bob"}
    subjects_of(list(of), "pseudonym", "sample", keyed, id_map)
    told = owners_of(of, "pseudonym", keyed, id_map)
    assert told == {"tube1": keyed.patient("Ann"), "tube2": keyed.patient("Bob")}
    assert all(name in id_map.read_text() for name in (*of, "Ann", "Bob"))
    assert owners_of(of, "own", keyed, id_map) == of
    table = tmp_path / "names.csv"
    table.write_text("name,identifier\ntube1,t-1\ntube2,t-2\nAnn,007\n")
    assert owners_of(of, str(table), keyed, id_map) == {"tube1": "007", "tube2": None}


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(InputError, match=r"E-OUT-011.*pdf.*json, html, fhir"):
        check_kinds(["json", "pdf"])
