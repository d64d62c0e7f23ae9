"""Settings that go into a bundle: enough to build every shipped part, and no word of the cohort."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from recart.config.compose import compose, config_folder
from recart.inference.bundle.feature_names import feature_names
from recart.inference.bundle.plain_tree import Shelf
from recart.inference.bundle.read import check_parts
from recart.inference.bundle.shareable import (
    batch_numbers,
    inference_settings,
    member_content,
    nameless,
    shareable_member,
)
from recart.problems import InputError
from recart.training.redactor import redact

PARTS = ("head", "endpoint", "model", "model/encoder", "model/rna", "data/receptors")
OPTIONS = [
    f"{part}={path.stem}"
    for part in PARTS
    for path in sorted((config_folder() / part).glob("*.yaml"))
]
PLACE = Path("somewhere")


def through_json(config: DictConfig) -> tuple[DictConfig, str]:
    shelf = Shelf()
    both = {"inference": inference_settings(config), "training": redact(config)}
    text = json.dumps(shelf.put(both, "config"), allow_nan=False) + json.dumps(shelf.words)
    return DictConfig(shelf.take(shelf.put(both, "config"))["inference"]), text


@pytest.mark.parametrize("option", OPTIONS)
def test_every_part_that_is_shipped_may_stand_in_a_bundle(option: str) -> None:
    config, _ = through_json(compose([option, "paths.run=r"]))
    check_parts(config, PLACE)


def test_no_place_no_column_and_no_word_of_the_cohort_goes_with_it() -> None:
    secrets = {
        "data.path": "QQPLACE/cohort.h5mu",
        "name": "QQNAME",
        "paths.prepared": "QQPREPARED",
        "paths.run": "QQRUN",
        "data.columns.patient": "QQDONOR",
        "data.columns.batch": "QQLANE",
        "data.exclude": "[QQLOST]",
        "data.reader.samples": "QQSAMPLES.csv",
        "data.folds.block": "QQFAMILY",
        "data.folds.column": "QQNUMBER",
        "data.folds.values": "[19570312]",
    }
    settings = ["data=h5mu", "data/folds=external", "data.endpoint=response"]
    settings += [f"{key}={value}" for key, value in secrets.items()]
    _, text = through_json(compose(settings))
    assert "QQ" not in text
    assert "19570312" not in text
    assert "response" in text  # a prediction means nothing without what is predicted


@pytest.mark.parametrize(
    "foreign",
    [
        {"_target_": "recart.data.readers.h5ad.H5adReader", "path": "x"},
        {"_target_": "os.system"},
        {"list": [{"deep": {"_target_": "recart.training.trackers.WandbTracker"}}]},
        {"_target_": 7},
    ],
)
def test_other_classes_are_refused_wherever_they_stand(foreign: dict[str, object]) -> None:
    config, _ = through_json(compose(["paths.run=r"]))
    config.head.endpoint = foreign
    with pytest.raises(InputError, match="E-BUNDLE-010"):
        check_parts(config, PLACE)


def test_a_text_loses_its_pseudonyms_and_nothing_else() -> None:
    text = "P-0123456789 and S-abcdefabcd share B-00ff00ff00; CD3-P-1 and P-0123 stay."
    assert nameless(text) == "a patient and a sample share a batch; CD3-P-1 and P-0123 stay."


def content(name: str, batches: Sequence[str]) -> dict[str, Any]:
    """A member's file, as far as its names are looked at."""
    features = {
        "genes": ["ENSG00000198851.11", "IGJ", "OWN1"],
        "gene_ids": ["ENSG00000198851", "", ""],
        "proteins": ["CD3_TotalSeqB"],
        "batches": list(batches),
    }
    unread = {"encoder": {}, "head": {}, "decision_rule": {}, "best_epoch": 1, "best_loss": 0.5}
    member = {"name": name, "fold": 0, "repeat": 0, "seed": 1, "settings": {}}
    patients = {"train": ["P-1"], "validation": [], "held_out": ["P-2"]}
    return {
        "member": {**member, **patients},
        "fitted_on": {"features": ["P-1"]},
        "features": features,
        **unread,
    }


def test_a_batch_has_the_same_number_in_every_member() -> None:
    """Else outputs under `transform_batch` would be means over members of different batches."""
    known = {"a": ["B-7", "B-2"], "b": ["B-2", "B-9"], "c": ["B-9", "B-7", "B-2"], "d": [""]}
    contents = [content(name, batches) for name, batches in known.items()]
    names = feature_names(contents)
    row = {gene["name"]: number for number, gene in enumerate(names["genes"])}
    numbers = batch_numbers(contents[:3])
    read = [member_content(shareable_member(own, row, numbers), names) for own in contents]
    told = [own["features"]["batches"] for own in read]
    first, second, third = (f"training batch {number}" for number in range(3))
    assert told == [[second, first], [first, third], [third, second, first], [""]]
    assert [own["features"]["genes"] for own in read] == [
        own["features"]["genes"] for own in contents
    ]


def test_genes_of_a_bundle_have_ids_and_symbols_whatever_the_cohort_calls_them() -> None:
    names = feature_names([content("a", ["B-1"])])["genes"]
    assert [(own["name"], own["ensembl"], own["symbol"]) for own in names] == [
        ("ENSG00000198851.11", "ENSG00000198851", "CD3E"),
        ("IGJ", "ENSG00000132465", "JCHAIN"),  # a symbol of before
        ("OWN1", "", ""),
    ]
    assert names[0]["id_from"] == "cohort"
