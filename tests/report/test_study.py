"""study.yaml: what authors write is taken as written, and every slip is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from recart.evaluation.claims import ClaimLevel
from recart.problems import InputError
from recart.report.checklists import CHECKLISTS, Checklist, asked_of_study
from recart.report.question import Question
from recart.report.study import find_study, read_study, study_fields, study_template
from recart.report.wording import within_the_claim

QUESTION = Question(
    endpoint="best_response",
    positive="CR",
    negative="no CR",
    unit="patient",
    decision="day 0",
    cohort="A cohort",
)


def _written(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_texts_are_taken_as_written(tmp_path: Path) -> None:
    text = "title: A model\ndates: 2020\nethics:\nfunding: >-\n  one\n  two\nprotocol: no\n"
    assert read_study(_written(tmp_path, text)) == {
        "title": "A model",
        "dates": "2020",
        "funding": "one two",
        "protocol": "no",
    }
    assert read_study(None) == {}
    assert read_study(_written(tmp_path, "")) == {}


def test_every_slip_is_named_at_once(tmp_path: Path) -> None:
    text = "fundin: us\ntitle: A\ntitle: B\nethics: [a, b]\nzzz: 1\n"
    with pytest.raises(InputError) as caught:
        read_study(_written(tmp_path, text))
    by_code = {problem.code: problem for problem in caught.value.problems}
    assert set(by_code) == {"E-STUDY-003", "E-STUDY-004", "E-STUDY-005"}
    assert "did you mean funding?" in str(caught.value)
    assert "the keys are title" in str(caught.value)
    assert by_code["E-STUDY-004"].column == "title"
    assert by_code["E-STUDY-005"].column == "ethics"


@pytest.mark.parametrize(
    ("text", "code", "what"),
    [
        ("- a\n- b\n", "E-STUDY-002", "no mapping"),
        ("title: 'open\n", "E-STUDY-002", "no YAML"),
        ("title: !!python/object:os.system x\n", None, ""),
    ],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, text: str, code: str | None, what: str
) -> None:
    path = _written(tmp_path, text)
    if code is None:
        assert read_study(path) == {"title": "x"}  # a text like any other: nothing is built of it
        return
    with pytest.raises(InputError, match=what) as caught:
        read_study(path)
    assert caught.value.problems[0].code == code


def test_a_file_that_is_not_there_is_refused_where_it_was_named(tmp_path: Path) -> None:
    assert find_study(tmp_path, None) is None
    assert find_study(_written(tmp_path, "").parent, None) == tmp_path / "study.yaml"
    with pytest.raises(InputError, match="E-STUDY-001"):
        read_study(find_study(tmp_path, str(tmp_path / "other.yaml")))


def test_the_template_has_every_key_and_is_a_study_without_texts(tmp_path: Path) -> None:
    wanted = asked_of_study(map(Checklist.load, CHECKLISTS))
    template = study_template(wanted)
    for key in study_fields():
        assert f"\n{key}:\n" in template
    assert "[TRIPOD+AI 17]" in template
    assert "DOME Data: availability, TRIPOD+AI 18e" in template
    assert read_study(_written(tmp_path, template)) == {}


@pytest.mark.parametrize(
    "text",
    [
        "It predicts response.",
        "PREDICTING the response",
        "predicted\nresponse",
        "It predicts durable complete remission",
        "a predictor of clinical outcome",
        "A response-prediction model",
        "predicts CR at day 90",
        "prognostic of best response",
        "It can identify responders",
        "tells non-responders apart",
    ],
)
def test_authors_claim_no_more_than_the_numbers(text: str) -> None:
    study = {"title": text, "ethics": "approved"}
    said, notes = within_the_claim(study, ClaimLevel.SIGNAL, QUESTION)
    assert said == {"ethics": "approved"}
    assert "title of study.yaml is not shown" in notes[0]
    assert within_the_claim(study, ClaimLevel.BETTER, QUESTION) == (study, ())


@pytest.mark.parametrize(
    "text",
    [
        "Response was CR or PR by IMWG criteria; all others were classified as non-responders.",
        "The distribution of predictors and outcome by centre.",
        "Assessors of the response did not know the predictors.",
        "One prediction a patient; CR against no CR.",
        "The predicted probability of CR is calibrated.",
    ],
)
def test_what_is_no_claim_is_shown(text: str) -> None:
    study = {"outcome_definition": text}
    assert within_the_claim(study, ClaimLevel.NO_EVIDENCE, QUESTION) == (study, ())
