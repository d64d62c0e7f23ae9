from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from omegaconf import OmegaConf

from recart.config.build import build, build_each
from recart.config.targets import fits, nearest
from recart.data.checks.limits import Limits
from recart.problems import InputError, Problem
from recart.training.encoder_training import EncoderTraining
from recart.training.trackers import CsvTracker
from recart.training.wandb_tracker import WandbTracker

TRAINING = {
    "_target_": "recart.training.encoder_training.EncoderTraining",
    "epochs": 3,
    "batch_size": 16,
    "block": 4,
    "lr": 0.01,
    "weight_decay": 0.0,
    "clip_norm": None,
    "warmup_epochs": 1,
    "patience": 2,
    "record": True,
    "joint": None,
    "start": None,
}


def problems(node: object, **extra: object) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as caught:
        build(OmegaConf.create(node), **extra)
    return caught.value.problems


def test_a_node_becomes_the_object_that_its_constructor_makes() -> None:
    made = build(OmegaConf.create(TRAINING))
    expected = {key: value for key, value in TRAINING.items() if key != "_target_"}
    assert type(made) is EncoderTraining
    assert dataclasses.asdict(made) == expected


def test_nested_nodes_are_built_first_and_containers_are_plain() -> None:
    node = {
        "_target_": "recart.problems.Problem",
        "code": "X",
        "what": {"_target_": "recart.data.checks.limits.Limits", "min_cells": 7},
        "mend": {"plain": [1, {"deep": 2}]},
    }
    made = build(OmegaConf.create(node))
    assert made.what == Limits(min_cells=7)
    assert made.mend == {"plain": [1, {"deep": 2}]}
    assert type(made.mend) is dict
    assert type(made.mend["plain"]) is list


def test_extra_arguments_arrive_as_they_are() -> None:
    marker = Limits()
    node = {"_target_": "recart.problems.Problem", "code": "X", "what": "w"}
    assert build(OmegaConf.create(node), mend=marker).mend is marker


def test_references_are_resolved_in_the_whole_configuration() -> None:
    config = OmegaConf.create({"rate": 0.5, "training": {**TRAINING, "lr": "${rate}"}})
    assert build(config.training).lr == 0.5


def test_a_wrong_key_names_the_class_the_key_and_the_nearest_parameter() -> None:
    (problem,) = problems({"training": {**TRAINING, "batchsize": 3}}["training"])
    assert problem.code == "E-CONFIG-003"
    assert problem.column.endswith("batchsize")
    assert (
        "recart.training.encoder_training.EncoderTraining has no parameter batchsize"
        in problem.what
    )
    assert "batch_size" in problem.mend


def test_all_wrong_keys_and_values_of_a_tree_are_told_at_once() -> None:
    found = problems({**TRAINING, "batchsize": 3, "lr": "fast", "_partial_": True})
    assert {problem.code for problem in found} == {"E-CONFIG-001", "E-CONFIG-003", "E-CONFIG-004"}


def test_a_missing_parameter_is_named() -> None:
    (problem,) = problems({k: v for k, v in TRAINING.items() if k != "patience"})
    assert problem.code == "E-CONFIG-006"
    assert "EncoderTraining needs patience" in problem.what


def test_a_mandatory_value_is_asked_for_by_its_own_name() -> None:
    config = OmegaConf.create(
        {"data": {"path": "???", "reader": {**TRAINING, "lr": "${data.path}"}}}
    )
    with pytest.raises(InputError) as caught:
        build(config.data.reader)
    assert "data.path has no value" in str(caught.value)


def test_a_value_that_the_constructor_refuses_is_the_users_to_mend() -> None:
    node = {"_target_": "recart.contracts.Member", "name": "m", "fold": 0, "repeat": 0, "seed": 0}
    patients = {"train": [1], "validation": [1], "held_out": [2]}
    with pytest.raises(InputError, match="Member refuses its values: member m: a patient is in"):
        build(OmegaConf.create({**node, **patients}))


@pytest.mark.parametrize("word", ["target", "_targt_", "_target"])
def test_a_misspelt_target_is_recognised(word: str) -> None:
    node = {word if k == "_target_" else k: v for k, v in TRAINING.items()}
    (problem,) = problems(node)
    assert problem.code == "E-CONFIG-002"
    assert word in problem.mend


def test_a_node_without_target_names_its_nearest_sibling() -> None:
    config = OmegaConf.create({"training": TRAINING, "trainings": {"epochs": 3}})
    with pytest.raises(InputError, match="did you mean training"):
        build(config.trainings)


def test_a_misspelt_class_names_the_nearest_one() -> None:
    (problem,) = problems(
        {**TRAINING, "_target_": "recart.training.encoder_training.EncoderTrainin"}
    )
    assert problem.mend == "did you mean recart.training.encoder_training.EncoderTraining?"


def test_a_group_is_built_by_name_and_null_leaves_one_out() -> None:
    wandb = {
        "_target_": "recart.training.wandb_tracker.WandbTracker",
        "project": "p",
        "entity": None,
        "patience": 5,
    }
    group = {
        "csv": {"_target_": "recart.training.trackers.CsvTracker"},
        "wandb": {**wandb, "mode": "offline"},
        "off": None,
    }
    made = build_each(OmegaConf.create(group))
    assert list(made) == ["csv", "wandb"]
    assert isinstance(made["csv"], CsvTracker)
    assert isinstance(made["wandb"], WandbTracker)


def test_a_group_entry_without_target_is_an_error_naming_the_nearest() -> None:
    group = {
        "progress": {"_target_": "recart.training.trackers.CsvTracker"},
        "progres": {"every": 3},
    }
    with pytest.raises(InputError, match="did you mean progress"):
        build_each(OmegaConf.create({"callbacks": group}).callbacks)


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (1, int, True),
        (1, float, True),
        (1.0, int, False),
        (True, int, False),
        (1, bool, False),
        (None, int, False),
        (None, int | None, True),
        ("x", int | None, False),
        ("x", int | str, True),
        ([1], int, True),  # left to the constructor
        ("x", list[int], True),
        ("x", Sequence[str], False),
        (1.0, Sequence[float], False),
        ("x", str | Sequence[str] | None, True),
        (["x"], Sequence[str], True),
    ],
)
def test_only_plain_values_of_a_wrong_type_are_refused(
    value: object, annotation: object, expected: bool
) -> None:
    assert fits(value, annotation) is expected


def test_the_nearest_name_or_all_of_them() -> None:
    assert nearest("latnt", ["latent", "hidden"]) == "did you mean latent?"
    assert nearest("zzz", ["latent", "hidden"]) == "there are: hidden, latent"
