"""The readers' YAML files name exactly the arguments of their class."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import fields
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from recart.data.readers import Columns, Reader
from recart.problems import InputError

CONFIGS = Path(__file__).parents[2] / "configs" / "data"


@pytest.mark.parametrize("name", ["h5mu", "h5ad", "cellranger", "fcs"])
def test_yaml_and_class_agree(name: str) -> None:
    config = OmegaConf.create({"data": OmegaConf.load(CONFIGS / f"{name}.yaml")})
    config.data.path = "missing"
    if name == "fcs":
        config.data.reader.unit = 1.0
    node = OmegaConf.to_container(config.data.reader, resolve=True)
    assert isinstance(node, dict)
    module, _, attribute = node.pop("_target_").rpartition(".")
    target = getattr(importlib.import_module(module), attribute)
    assert set(node) == set(inspect.signature(target).parameters)
    assert set(config.data.columns) == {field.name for field in fields(Columns)}
    reader = target(**node)
    assert isinstance(reader, Reader)
    with pytest.raises(InputError, match="E-FILE-001"):
        reader.read()


def test_columns_come_from_a_configuration_node() -> None:
    names = OmegaConf.create({"sample": "lane", "patient": None})
    assert Columns.of(names) == Columns(sample="lane")
