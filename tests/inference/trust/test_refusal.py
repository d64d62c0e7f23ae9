"""Refusals are data: rules of a file, each with its threshold, its words and the mend."""

from __future__ import annotations

import numpy as np
import pytest

from recart.config.build import build
from recart.config.compose import compose
from recart.inference.trust.refusal import FACTS, RefusalPolicy, Rule
from recart.problems import InputError


def shipped(*overrides: str) -> RefusalPolicy:
    policy: RefusalPolicy = build(compose(["run=none", *overrides], "evaluate").refusal)
    return policy


# a patient that nothing speaks against
SOUND = {
    "cells": 2000.0,
    "genes_missing": 0.0,
    "proteins_missing": 0.0,
    "unknown_time_or_tissue": 0.0,
    "car_positive": np.nan,
    "in_training": 0.0,
    "claim_level": 3.0,
    "training_patients": 60.0,
    **{name: 0.5 for name in FACTS if name.startswith("unlike_")},
}


@pytest.mark.parametrize(
    ("fact", "value", "code"),
    [
        ("cells", 99.0, "R-CELLS"),
        ("genes_missing", 0.31, "R-GENES"),
        ("proteins_missing", 0.6, "R-PROTEINS"),
        ("unknown_time_or_tissue", 0.01, "R-TIME"),
        ("car_positive", 4.0, "R-CAR"),
        ("in_training", 1.0, "R-TRAINING"),
        ("claim_level", 1.0, "R-CLAIM"),
        ("training_patients", 29.0, "R-SMALL"),
        ("unlike_latent", 1.01, "R-OOD-LATENT"),
        ("unlike_rna", 1.01, "R-OOD-RNA"),
        ("unlike_protein", 1.01, "R-OOD-PROTEIN"),
        ("unlike_composition", 1.01, "R-OOD-COMPOSITION"),
        ("unlike_kind", 1.01, "R-OOD-TIME"),
        ("unlike_rna_depth", 1.01, "R-OOD-DEPTH"),
        ("unlike_protein_depth", 1.01, "R-OOD-DEPTH-PROTEIN"),
    ],
)
def test_each_shipped_rule_refuses_its_fact_alone(fact: str, value: float, code: str) -> None:
    policy = shipped()
    assert policy.reasons(SOUND) == []
    assert policy.reasons({**SOUND, fact: value}) == [code]


def test_every_fact_has_a_shipped_rule() -> None:
    assert {rule.fact for rule in shipped().in_force} == set(FACTS)


def test_what_is_not_known_does_not_refuse() -> None:
    assert shipped().reasons({}) == []


def test_a_rule_is_left_out_or_moved_on_the_command_line() -> None:
    poor = {**SOUND, "claim_level": 0.0, "genes_missing": 0.35}
    assert shipped().reasons(poor) == ["R-CLAIM", "R-GENES"]
    policy = shipped("refusal.rules.claim=null", "refusal.rules.genes.above=0.4")
    assert policy.reasons(poor) == []


def test_the_summary_says_how_many_why_and_the_mend() -> None:
    lines = shipped().summary(["", "R-CELLS;R-GENES", "R-CELLS"], "patient")
    assert lines[0] == "2 of 3 patients get no prediction"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["R-CELLS (2)", "R-GENES (1)"]
    assert "sequence more cells" in lines[1]


def test_plain_content_gives_the_same_policy() -> None:
    policy = shipped("refusal.rules.claim=null")
    again = RefusalPolicy.from_plain(policy.plain())
    assert again.in_force == policy.in_force
    assert again.unlike == policy.unlike


@pytest.mark.parametrize(
    "wrong", [{"fact": "genes_lacking"}, {"above": None}, {"below": 1.0}], ids=str
)
def test_a_rule_without_sense_is_refused(wrong: dict[str, object]) -> None:
    given = {"code": "R-X", "fact": "cells", "words": "w", "mend": "m", "above": 1.0, **wrong}
    with pytest.raises(ValueError, match=r"fact|above"):
        Rule(**given)  # type: ignore[arg-type]


def test_two_rules_of_one_code_say_the_same() -> None:
    rules = {
        "a": Rule(code="R-X", fact="cells", words="few", mend="m", below=1.0),
        "b": Rule(code="R-X", fact="genes_missing", words="missing", mend="m", above=1.0),
    }
    with pytest.raises(InputError, match="different words"):
        RefusalPolicy(unlike=0.04, rules=rules)
