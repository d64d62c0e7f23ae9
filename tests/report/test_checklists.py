"""Checklists: whole, answered from what is known, and never silently blank."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from recart.config.compose import compose
from recart.data.split import Split
from recart.data.split_rules import FoldPatients, Kind
from recart.evaluation.audit.finding import Finding, Severity
from recart.evaluation.outcomes import OutcomeAssessment
from recart.evaluation.subgroups import Subgroup
from recart.report.audit_table import audit_groups
from recart.report.checklists import CHECKLISTS, Checklist, FilledItem, Status, asked_of_study
from recart.report.facts import CohortFacts, FitFacts, RunFacts, patients_by_part
from recart.report.fillers import FILLERS, of_the_model, what_the_run_knows
from recart.report.model_card import card_markdown, model_card
from recart.report.question import FlowStep
from recart.report.study import study_fields
from recart.training.prototype_head import PrototypeHead
from recart.training.training_time import TrainingTime

LISTS = [Checklist.load(name) for name in CHECKLISTS]
# the number of each item and the last letter of its parts
TRIPOD_PARTS = {3: "c", 5: "b", 6: "c", 8: "c", 9: "c", 12: "g", 18: "f", 20: "c", 23: "b", 27: "c"}
TRIPOD_ITEMS = [
    f"{number}{letter}"
    for number in range(1, 28)
    for letter in (
        "abcdefg"[: ord(TRIPOD_PARTS[number]) - ord("a") + 1] if number in TRIPOD_PARTS else [""]
    )
]


def resolved(overrides: list[str]) -> dict[str, Any]:
    """A configuration as it lies in a run's folder."""
    return cast("dict[str, Any]", OmegaConf.to_container(compose(overrides), resolve=True))


@pytest.fixture
def make_facts(make_content: Any) -> Callable[..., RunFacts]:
    """Facts of a run with proteins and receptors; the numbers are those of the content."""

    def make(simulated: bool = False, outside: bool = False, **settings: Any) -> RunFacts:
        content = make_content(outside=outside, **settings)
        node = {"_target_": "recart.some.Thing"}
        return RunFacts(
            config=OmegaConf.create(
                {
                    "data": {
                        "normalised": False,
                        "car_genes": ["CAR"],
                        "exclude": ["NE"],
                        "receptors": {"_target_": "recart.data.receptors.sceptr.Sceptr"},
                        "folds": node,
                    },
                    "features": {"n_genes": 2000, "exclude": ["^TR"]},
                    "model": {**node, "encoder": node, "rna": node, "latent": 10, "dropout": 0.2},
                    "head": resolved([])["head"],
                    "training": {"weight_decay": 1e-6, "patience": 10, "epochs": 60},
                }
            ),
            question=content.question,
            assessment=content.assessment,
            flow=(FlowStep(name="in the files", patients=45, samples=90, cells=12_345),),
            cohort=CohortFacts(
                samples=90,
                genes=20_000,
                proteins=61,
                receptor_dim=64,
                with_protein=85,
                with_receptor=90,
                levels={"site": 2},
                columns=("age", "response"),
                key="abc123",
                simulated=simulated,
            ),
            fit=FitFacts(
                members=10,
                split="5 folds x 2 repeats",
                outside=outside,
                parts=dict.fromkeys(("train", "validation", "held_out"), "8 patients (4 positive)"),
                genes=(2000, 2000),
                encoder_parameters=(350_000, 360_000),
                head_features=(240, 241),
                epochs=(7, 31),
                strengths=(0.1, 1.0),
            ),
            digests={"configuration": "c0ffee", "split": "5eed"},
            versions={"recart": "0.1", "python": "3.11", "torch": "2.13", "commit": None},
            findings=None,
        )

    return make


def test_dome_has_21_fields_and_tripod_52_items() -> None:
    dome, tripod = LISTS
    assert len({item.id for item in dome.items}) == len(dome.items) == 21
    parts = [item.id.partition(":")[0] for item in dome.items]
    assert [parts.count(part) for part in ("Data", "Optimisation", "Model", "Evaluation")] == [
        *(4, 8, 4, 5),
    ]
    assert [item.id for item in tripod.items] == TRIPOD_ITEMS


def test_every_item_can_be_answered_and_names_only_what_there_is() -> None:
    items = [item for checklist in LISTS for item in checklist.items]
    for item in items:
        assert item.auto or item.study, item.id
        assert item.asks
        assert {item.auto, item.knows} - {""} <= set(FILLERS), item.id
        assert item.study in {"", *study_fields()}, item.id
    used = {name for item in items for name in (item.auto, item.knows)}
    assert set(FILLERS) <= used


def test_every_key_of_the_study_is_asked_for_by_an_item_or_the_card() -> None:
    texts = {key: f"the text of {key}" for key in study_fields()}
    shown = " ".join(p for part in model_card({}, texts) for p in part.paragraphs)
    on_the_card = {key for key, text in texts.items() if text in shown}
    assert set(study_fields()) <= {*asked_of_study(LISTS), *on_the_card}


def _told(facts: RunFacts, cohort: dict[str, Any] | None = None, **data: Any) -> dict[str, str]:
    config = OmegaConf.merge(facts.config, {"data": data})
    own = replace(facts, config=config, cohort=replace(facts.cohort, **(cohort or {})))
    return what_the_run_knows(own)


def test_covariates_that_the_head_reads_are_told(make_facts: Callable[..., RunFacts]) -> None:
    names = ("predictors", "initial_predictors")
    without = _told(make_facts())
    assert all("No clinical variable enters the model." in without[name] for name in names)
    assert "all are counts or sequences" in without["judged_predictors"]
    told = _told(make_facts(), covariates=["age", "gate:CD4"])
    for name in names:
        assert "No clinical variable" not in told[name]
        assert "covariates of the patient or sample: age, gate:CD4." in told[name]
    assert "age, gate:CD4" in told["judged_predictors"]
    assert "all are counts" not in told["judged_predictors"]
    assert "A covariate that a patient lacks" in told["missing_data"]
    assert "covariate" not in without["missing_data"]


def test_what_is_measured_of_a_cell_is_what_was_read(make_facts: Callable[..., RunFacts]) -> None:
    assert _told(make_facts())["predictors"].startswith("Of each cell: RNA counts, 61 surface")
    normalised = _told(make_facts(), normalised=True)
    assert "log-normalised RNA" in normalised["predictors"]
    cytometry = _told(make_facts(), cohort={"genes": 0, "receptor_dim": 0})
    assert cytometry["predictors"].startswith("Of each cell: 61 surface proteins.")
    for answer in ("algorithm", "features", "initial_predictors", "predictor_handling"):
        assert "RNA" not in cytometry[answer]
        assert "genes" not in cytometry[answer]
    assert "RNA" not in cytometry["preparation"]


def test_no_more_genes_are_told_than_were_chosen(make_facts: Callable[..., RunFacts]) -> None:
    facts = make_facts()
    fewer = replace(facts, fit=replace(facts.fit, genes=(480, 487)))
    told = what_the_run_knows(fewer)["initial_predictors"]
    assert "of these the 480 to 487 most variable" in told


def test_what_is_filled_in_is_told(make_facts: Callable[..., RunFacts]) -> None:
    own = _told(make_facts())["missing_data"]
    assert "is masked" in own
    assert "not filled in" not in own
    assert "proteins that a sample's panel lacks, for the head and genes that new data lack" in own
    rna = _told(make_facts(), cohort={"proteins": 0})["missing_data"]
    assert "are genes that new data lack, for encoder and head." in rna
    nothing = _told(make_facts(), cohort={"proteins": 0, "genes": 0})["missing_data"]
    assert "Filled in" not in nothing


@pytest.mark.parametrize("simulated", [False, True])
@pytest.mark.parametrize("settings", [{}, {"leave_one_out": True}, {"outside": True}], ids=str)
def test_no_item_is_blank(
    make_facts: Callable[..., RunFacts], simulated: bool, settings: dict[str, Any]
) -> None:
    known = what_the_run_knows(make_facts(simulated=simulated, **settings))
    assert all(re.match(r"\S.*\S$", text, re.DOTALL) for text in known.values())
    for checklist in LISTS:
        for item in checklist.fill(known, {}).items:
            if item.status is Status.AUTHOR:
                assert item.key, item.id
                assert item.text == ""
            else:
                assert item.text, item.id


def test_who_answers_which_item(make_facts: Callable[..., RunFacts]) -> None:
    known = what_the_run_knows(make_facts())
    dome, tripod = LISTS
    empty = {item.id: item for item in tripod.fill(known, {}).items}
    assert empty["17"].status is Status.AUTHOR
    assert empty["23a"].status is Status.AUTO
    assert empty["5a"].status is Status.AUTHOR
    assert "abc123" in empty["5a"].knows  # part of an answer, and no answer
    told = {item.id: item for item in tripod.fill(known, {"ethics": "approved"}).items}
    assert (told["17"].status, told["17"].text) == (Status.STUDY, "approved")
    simulated = what_the_run_knows(make_facts(simulated=True))
    assert tripod.fill(simulated, {}).items[6].status is Status.AUTO
    assert dome.fill(known, {}).count(Status.AUTO) == 15
    assert dome.fill(simulated, {}).count(Status.AUTO) == 16


def test_of_survival_those_who_were_censored_are_counted_too(
    make_facts: Callable[..., RunFacts], outcomes: tuple[OutcomeAssessment, ...]
) -> None:
    known = what_the_run_knows(make_facts())
    assert "followed is not among the data" in known["flow"]
    (survival,) = [replace(own, leads=True) for own in outcomes if own.kind == "survival"]
    told = what_the_run_knows(replace(make_facts(), outcomes=(survival,)))
    assert f"patients were followed the times of {survival.name} tell" in told["flow"]
    words = f"({survival.name} as a whole: 40 evaluated, 30 with an event, others censored)"
    for answer in ("cohort_numbers", "sample_size", "known_limits"):
        assert words in told[answer]
        assert "as a whole" not in known[answer]


def test_positive_samples_are_not_counted_as_patients() -> None:
    table = pd.DataFrame({"patient": np.arange(12) // 2, "label": [1, 1, 0, 0] * 3})
    fold = FoldPatients(repeat=0, fold=0, seed=0, train=(0, 1), validation=(2, 3), held_out=(4, 5))
    split = Split(seed=0, kind=Kind.EXTERNAL, folds=(fold,))
    told = patients_by_part(split, table, "sample")
    assert told["train"] == "2 patients (2 positive samples)"
    assert patients_by_part(split, table[::2], "patient")["train"] == "2 patients (1 positive)"


def test_answers_hold_the_numbers_of_the_run(make_facts: Callable[..., RunFacts]) -> None:
    facts = make_facts()
    known = what_the_run_knows(facts)
    model = facts.assessment.model
    assert f"AUROC {model.metrics.auroc:.2f}" in known["performance"]
    assert f"slope {model.calibration.slope:.2f}" in known["performance"]
    assert "350,000 to 360,000 weights" in known["parameters"]
    assert "5 of 90 samples lack proteins; 0 of 90 lack receptors" in known["missing_data"]
    assert "5 folds x 2 repeats" in known["splits"]
    assert "composition, batch only" in known["comparison"]
    assert (
        "none of these patients"
        in what_the_run_knows(make_facts(outside=True))["evaluation_method"]
    )
    assert "not run" in known["independence"]
    found = Finding(check="identity", code="A-ID-001", severity=Severity.PASSED, what="none")
    assert "1 passed" in what_the_run_knows(replace(facts, findings=(found,)))["independence"]


def test_execution_time_is_what_was_measured_and_asked_for_where_it_was_not(
    make_facts: Callable[..., RunFacts],
) -> None:
    def told(*times: TrainingTime) -> FilledItem:
        known = what_the_run_knows(replace(make_facts(), times=times))
        return next(i for i in LISTS[0].fill(known, {}).items if i.id == "Model: execution time")

    first = TrainingTime(seconds=90.4, members=4, cores=2)
    second = TrainingTime(seconds=59.6, members=6, cores=8, gpus=("NVIDIA H100", "NVIDIA H100"))
    both = told(first, second)
    assert both.status is Status.AUTO
    assert "took 2.5 min on the clock, in 2 starts: 10 members" in both.text
    assert "on 2 CPU cores, without a GPU; on 2 x NVIDIA H100 with 8 CPU cores" in both.text
    assert "through Slurm" in told(replace(first, members=10, elsewhere="Slurm")).text
    for lacking in (told(), told(first)):  # nothing kept, or a start that was killed
        assert lacking.status is Status.AUTHOR
        assert "10 members of at most 60 epochs" in lacking.knows


def test_the_card_is_the_same_on_the_page_and_as_a_file(
    make_facts: Callable[..., RunFacts],
) -> None:
    card = model_card(what_the_run_knows(make_facts()), {"intended_use": "Research on X."})
    markdown = card_markdown(card, "response")
    for section in card:
        assert f"## {section.title}\n" in markdown
        for paragraph in section.paragraphs:
            assert paragraph in markdown
    assert "Research on X." in markdown
    assert "AUTHOR TO FILL (ethics in study.yaml)." in markdown


def test_kinds_of_leakage_show_the_worst_of_their_checks() -> None:
    def finding(check: str, severity: Severity) -> Finding:
        return Finding(check=check, code="A-XX-001", severity=severity, what="said")

    audit = audit_groups(
        [
            finding("identity", Severity.PASSED),
            finding("structure", Severity.WARNING),
            finding("time", Severity.PASSED),
        ]
    )
    marks = {kind.code: kind.mark for kind in audit.kinds}
    assert marks["L1.4"] == marks["L3.2"] == "warning"
    assert marks["L3.1"] == "passed"
    assert marks["L1.1"] == "not looked for"
    assert len(marks) == 8
    assert audit.counts == {"leak": 0, "warning": 1, "unknown": 0, "passed": 2}
    assert [one.anchor for kind in audit.kinds if kind.code == "L1.4" for one in kind.evidence] == [
        "finding-2"
    ]


def test_what_a_sweep_chose_is_told_and_settings_are_not_called_the_same(
    make_facts: Callable[..., RunFacts],
) -> None:
    plain = make_facts()
    assert "the same in all folds" in of_the_model.parameters(plain)
    mixed = {"_target_": "recart.training.mixed_head.MixedHead"}
    own = {"r0f0": {"model.latent": 5}, "r0f1": {"model.latent": 20, "head": mixed}, "r0f2": {}}
    swept = replace(plain, own_values=own)
    for told in (of_the_model.parameters, of_the_model.regularisation):
        assert "the same in all folds" not in told(swept)
        assert "head: MixedHead; model.latent: 20, 5" in told(swept)


def test_what_was_measured_by_subgroup_is_told(
    make_facts: Any, parts_of_patients: tuple[Subgroup, ...]
) -> None:
    without = what_the_run_knows(make_facts())["subgroups"]
    assert without == "The patient table has age; nothing was computed by these."
    known = what_the_run_knows(replace(make_facts(), subgroups=parts_of_patients))["subgroups"]
    assert known.startswith("AUROC and mean probability were computed by sex. The patient table")


@pytest.mark.parametrize("name", ["prototypes", "attention", "cells", "mixed", "ensemble"])
def test_what_is_said_of_the_head_is_said_of_this_head(
    make_facts: Callable[..., RunFacts], name: str
) -> None:
    facts = make_facts()
    facts.config.head = resolved([f"head={name}"])["head"]
    known = what_the_run_knows(facts)
    words = (known["regularisation"], known["predictor_handling"], known["readable_parts"])
    assert all(words)
    ridge = [word for word in words if word and "ridge" in word]
    assert len(ridge) == (2 if name == "prototypes" else 0)
    assert ("coefficients stand in its file" in str(words[2])) == (name == "prototypes")


def test_a_head_without_words_leaves_them_to_the_author(
    make_facts: Callable[..., RunFacts], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PrototypeHead, "words", None)
    known = what_the_run_knows(make_facts())
    assert "predictor_handling" not in known
    assert known["readable_parts"] == "The encoder is a black box."
    assert "Head: see PrototypeHead." in str(known["regularisation"])


def test_labels_that_shape_the_encoder_are_told(make_facts: Callable[..., RunFacts]) -> None:
    facts = make_facts()
    assert "without the outcome;" in str(what_the_run_knows(facts)["algorithm"])
    facts.config.training = resolved(["training=joint"])["training"]
    known = what_the_run_knows(facts)
    for item in ("algorithm", "fitting"):
        assert "to the outcome of 50% of the training patients too" in str(known[item])
        assert "without the outcome;" not in str(known[item])
