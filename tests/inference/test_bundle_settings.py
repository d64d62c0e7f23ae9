"""Settings that go into a bundle: enough to build every shipped part, and no word of the cohort."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from omegaconf import DictConfig

from recart.config.compose import compose, config_folder
from recart.inference.bundle.plain_tree import Shelf
from recart.inference.bundle.read import check_parts
from recart.inference.bundle.shareable import inference_settings, nameless
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
