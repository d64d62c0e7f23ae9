"""The page of one patient: it says what the record says, and needs nothing beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recart.inference.bundle.shareable import without_scores
from recart.inference.launch import Embedded
from recart.inference.new_patients import NewPatients
from recart.inference.records.patient_record import Asked, patient_records
from recart.inference.state_drivers import state_words
from recart.report.patient_files import write_patient_files
from recart.report.patient_page import patient_page
from recart.report.patient_words import driver_words, group_words
from recart.report.reference_map import ReferenceMap


@pytest.fixture
def embedded(
    make_new_patients: Callable[[], NewPatients], rich_head: Any, tmp_path: Path
) -> Embedded:
    """Three patients, the third refused."""
    new = make_new_patients()
    asked = Asked(
        about={"recart": "0.1.0", "members": "0123456789abcdef"},
        positive="CR",
        negative="PR, <SD>",
        unit="patient",
        input_sha256="ab" * 32,
        made="2026-11-27T09:00:00+00:00",
    )
    subjects = {f"bag{n}": f"P/{n} & co" for n in range(3)}
    model: Any = SimpleNamespace(members=[SimpleNamespace(head=rich_head)], trust=None)
    return Embedded(
        new=new,
        model=model,
        records=patient_records(new, asked, subjects),
        folder=tmp_path / "out.reports",
    )


def _text(html: str) -> str:
    words = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<[^>]+>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", words)


def test_every_patient_has_all_files(embedded: Embedded) -> None:
    files = write_patient_files(embedded, ["json", "html", "fhir"], "urn:x")
    assert sorted(path.name for path in files) == sorted(
        f"P_{n}_co.{suffix}" for n in range(3) for suffix in ("json", "fhir.json", "html")
    )
    told = json.loads((embedded.folder / "P_1_co.json").read_text())
    assert told == embedded.records["bag1"]
    assert json.loads((embedded.folder / "P_1_co.fhir.json").read_text())["resourceType"]
    assert write_patient_files(embedded, []) == []


def test_reports_of_before_do_not_stay_beside_new_ones(embedded: Embedded) -> None:
    kinds = ["json", "html", "fhir"]
    write_patient_files(embedded, kinds)
    mine = {"notes.json": '{"schema": "mine"}', "page.html": "<title>ours</title>", "x.txt": "x"}
    for name, text in mine.items():
        (embedded.folder / name).write_text(text)
    other = replace(embedded, records={"bag1": embedded.records["bag1"]})
    written = write_patient_files(other, ["json"])
    assert {path.name for path in embedded.folder.iterdir()} == {"P_1_co.json", *mine}
    write_patient_files(other, [])
    assert {path.name for path in embedded.folder.iterdir()} == set(mine)
    for name in mine:
        (embedded.folder / name).unlink()
    assert write_patient_files(other, ["json"]) == written
    assert write_patient_files(other, []) == []
    assert not embedded.folder.exists()


def test_a_set_of_no_class_and_a_calibrated_posterior_are_told_as_that(embedded: Embedded) -> None:
    record = embedded.records["bag0"]
    own = {**record["prediction"], "further": {"posterior:low": 0.2, "posterior:high": 0.9}}
    own["sets"] = {"80": [], "90": ["R"]}
    records = {"bag0": {**record, "prediction": own}}
    write_patient_files(replace(embedded, records=records), ["html"])
    text = _text((embedded.folder / "P_0_co.html").read_text())
    assert "{}: like neither" in text
    assert "cannot say" not in text
    assert "95% of the posterior, calibrated as" in text
    assert "they are not calibrated" not in text


def test_the_page_says_what_the_record_says(embedded: Embedded) -> None:
    write_patient_files(embedded, ["html"])
    page = (embedded.folder / "P_0_co.html").read_text()
    record, text = embedded.records["bag0"], _text(page)
    assert f"CR: probability {record['prediction']['probability']:.2f}" in text
    assert "{R, NR}: cannot say" in text
    assert "Research use only" in text
    assert "P/0 &amp; co" in text
    assert "PR, &lt;SD&gt;" in text
    assert "L2" in text
    assert page.count("<svg ") == 4
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)""", page)  # nothing from elsewhere
    first = record["drivers"]["features"][0]
    assert "shares of finer cell states" in text
    assert f"{first['contribution']:+.2f}".replace("-", "\N{MINUS SIGN}") in text


def test_a_head_without_named_features_says_so(embedded: Embedded) -> None:
    record = embedded.records["bag0"]
    assert "What drives the score Not told" not in _text(patient_page(record))
    record["drivers"] |= {"groups": [], "features": []}
    text = _text(patient_page(record))
    assert "What drives the score Not told" in text
    assert "recart_attribution" in text
    refused = _text(patient_page(embedded.records["bag2"]))
    assert "What drives the score" not in refused


def test_the_page_says_which_cell_states_are_behind_a_score(embedded: Embedded) -> None:
    write_patient_files(embedded, ["html"])
    text = _text((embedded.folder / "P_0_co.html").read_text())
    states = embedded.new.drivers.states
    assert states is not None
    added = states.added.loc["bag0"]
    shown = int((added.abs() >= 0.005).sum())
    total = f"{added.sum():.2f}".replace("-", "\N{MINUS SIGN}")
    assert 2 <= shown <= 5
    assert f"The largest {shown} of 5; all together add {total}. Mean over 1 of 1 models" in text


def test_a_refusal_says_why_and_shows_no_score(embedded: Embedded) -> None:
    write_patient_files(embedded, ["html"])
    page = (embedded.folder / "P_2_co.html").read_text()
    text = _text(page)
    assert "No prediction" in text
    assert "R-OOD-LATENT" in text
    assert "What drives the score" not in text
    assert "Cell states behind it" not in text
    assert "Probability of" not in text
    assert page.count("<svg ") == 2  # composition and map of the embedded cells


def test_levels_survival_and_further_outcomes_stand_on_the_page(embedded: Embedded) -> None:
    record = embedded.records["bag0"]
    prediction = {**record["prediction"], "further": {"survival:6": 0.25, "risk": -1.5}}
    prediction["further"] |= {"log_odds:crs": 0.0, "level:2:crs": 0.125}
    question = {**record["question"], "endpoint": "pfs"}
    question["further"] = {"crs": {"positive": "grade 2 or more", "negative": "below"}}
    own = {**record, "prediction": prediction, "question": question}
    write_patient_files(replace(embedded, records={"bag0": own}), ["html"])
    text = _text((embedded.folder / "P_0_co.html").read_text())
    for told in ("pfs outcome value no event by month 6 0.25", "mean patient \N{MINUS SIGN}1.50"):
        assert told in text
    assert "crs outcome value grade 2 or more 0.50 level 2 0.12" in text
    assert "they are not calibrated" in text
    write_patient_files(embedded, ["html"])
    assert "What else" not in _text((embedded.folder / "P_0_co.html").read_text())


def test_a_samples_page_speaks_of_samples(embedded: Embedded) -> None:
    own = {**embedded.records["bag0"], "unit": "sample"}
    write_patient_files(replace(embedded, records={"bag0": own}), ["html"])
    page = (embedded.folder / "P_0_co.html").read_text()
    assert "of one more sample like them" in _text(page)
    assert "the training samples':" in page.replace("&#39;", "'")
    assert "this patient" not in page
    assert "the patient's cells" not in page.replace("&#39;", "'")


def test_whom_models_have_seen_is_not_called_unseen(embedded: Embedded) -> None:
    write_patient_files(embedded, ["html"])
    assert "that has not seen the patient" in (embedded.folder / "P_0_co.html").read_text()
    own = {**embedded.records["bag0"], "in_training": True}
    write_patient_files(replace(embedded, records={"bag0": own}), ["html"])
    text = _text((embedded.folder / "P_0_co.html").read_text())
    assert "not seen the patient" not in text
    assert "This patient was in training" in text


def test_a_patient_has_the_same_page_in_any_company(embedded: Embedded) -> None:
    write_patient_files(embedded, ["html"])
    together = (embedded.folder / "P_0_co.html").read_text()
    new = embedded.new
    pictures = replace(new.pictures, points=new.pictures.points[:1], rows=new.pictures.rows[:1])
    alone = replace(
        embedded,
        new=replace(new, embedding=new.embedding[:1], pictures=pictures),
        records={"bag0": embedded.records["bag0"]},
    )
    write_patient_files(alone, ["html"])
    assert (embedded.folder / "P_0_co.html").read_text() == together


def test_a_bundle_says_of_the_cohort_what_its_run_says(
    embedded: Embedded, rich_recipe: Any, rich_head: Any
) -> None:
    state = without_scores(rich_head.state())
    assert state["chosen"]["inner_logits"] == []
    pages = []
    for head in (rich_head, rich_recipe.restore(state)):
        model: Any = SimpleNamespace(members=[SimpleNamespace(head=head)], trust=None)
        write_patient_files(replace(embedded, model=model), ["html"])
        pages.append((embedded.folder / "P_0_co.html").read_text())
    assert pages[0] == pages[1]
    assert "second highest of 20;" in _text(pages[0])
    assert re.search(r"of one more patient like them [0-3] would", _text(pages[0]))
    # a bundle of before does not know how many there were, and says nothing of it
    del state["chosen"]["bags"]
    model = SimpleNamespace(members=[SimpleNamespace(head=rich_recipe.restore(state))], trust=None)
    write_patient_files(replace(embedded, model=model), ["html"])
    told = _text((embedded.folder / "P_0_co.html").read_text())
    assert "second highest of these; strokes: their mean." in told
    assert "one more patient" not in told


def test_the_map_puts_a_cell_among_its_like(rich_head: Any) -> None:
    drawn = ReferenceMap.of(rich_head)
    assert drawn.method == "principal components"  # nine centres are too few for a UMAP
    np.testing.assert_allclose(drawn.place(drawn.centres), drawn.places, atol=1e-6)
    rng = np.random.default_rng(0)
    near = drawn.centres + 0.05 * rng.standard_normal(drawn.centres.shape)
    distance = np.linalg.norm(drawn.place(near)[:, None] - drawn.places[None], axis=-1)
    assert (distance.argmin(axis=1) == np.arange(len(near))).mean() > 0.8


@pytest.mark.slow
def test_many_states_are_laid_out_by_umap(rich_head: Any) -> None:
    import torch

    from recart.models.prototypes import Prototypes

    rng = np.random.default_rng(0)
    groups = np.repeat(10 * rng.standard_normal((3, 6)), 12, axis=0)
    centres = torch.from_numpy(groups + 0.3 * rng.standard_normal(groups.shape))
    features = replace(rich_head.features, prototypes=(Prototypes(centres_kl=centres, width=0.1),))
    drawn = ReferenceMap.of(replace(rich_head, features=features))
    assert drawn.method == "a UMAP"
    spread = [np.linalg.norm(own - own.mean(0), axis=1).mean() for own in np.split(drawn.places, 3)]
    means = np.stack([own.mean(0) for own in np.split(drawn.places, 3)])
    apart = np.linalg.norm(means[:, None] - means[None], axis=-1)[np.triu_indices(3, 1)]
    assert apart.min() > 2 * max(spread)
    again = ReferenceMap.of(replace(rich_head, features=features))
    np.testing.assert_array_equal(drawn.places, again.places)


def test_states_are_named_by_their_markers(rich_head: Any) -> None:
    words = state_words(rich_head)
    assert [word.split(":")[0] for word in words] == [f"state {k}" for k in range(5)]
    assert {"CD8", "CD4", "GZMB"} <= set(re.findall(r"[A-Z]+\d*[A-Z]*", " ".join(words)))


def test_a_protein_and_its_gene_name_a_state_once(rich_head: Any) -> None:
    alike = replace(rich_head.features, marker_names=("protein:CD8", "protein:CD4", "gene:CD8"))
    words = state_words(replace(rich_head, features=alike))
    assert any("CD8" in word for word in words)
    assert not any(re.search(r"CD8.*CD8", word) for word in words)


def test_words_for_groups_and_features() -> None:
    assert group_words("changes of proteins") == "change over time of surface proteins"
    assert group_words("fractions of 100") == "shares of finer cell states"
    rows = [
        {"group": "genes", "feature": "GZMB", "contribution": -0.3, "sd": 0.1},
        {"group": "means", "feature": "all cell states", "contribution": 0.1, "sd": 0.2},
        {"group": "genes", "feature": "TOX", "contribution": 0.0, "sd": 0.0},
    ]
    one, other = driver_words(rows, 5)
    assert (one["name"], one["speaks"], one["agreed"]) == ("GZMB", "against", True)
    assert (other["name"], other["of"], other["agreed"]) == ("mean state of the cells", "", False)
