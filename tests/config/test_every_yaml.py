"""Every file of `configs/` composes, and each of its keys is a parameter of the class it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from recart.config.check import check_config
from recart.config.compose import compose, config_folder
from recart.config.schema import EmbedConfig, EvaluateConfig
from recart.config.targets import parameters, resolve
from recart.problems import InputError, Problem

FOLDER = config_folder()
ENTRIES = ("train", "evaluate", "embed")
OPTIONS = sorted(
    str(path.relative_to(FOLDER).with_suffix(""))
    for path in FOLDER.rglob("*.yaml")
    if path.parent != FOLDER and path.parent.name != "hydra"
)

# mandatory values that are no text
GIVEN = {"data.reader.unit": "1.0", "data.folds.values": "[placeholder]"}


def complete(overrides: list[str], entry: str, schema: type[Any] | None = None) -> DictConfig:
    """The checked configuration, with a placeholder for every mandatory value."""
    check = (check_config,) if schema is None else (check_config, schema)
    while True:
        config = compose(overrides, entry)
        try:
            check[0](config, *check[1:])
        except InputError as error:
            asked = [p.column for p in error.problems if p.code == "E-CONFIG-006"]
            if not asked or asked[0] in {o.split("=")[0] for o in overrides}:
                raise
            overrides = [*overrides, *(f"{key}={GIVEN.get(key, 'placeholder')}" for key in asked)]
        else:
            return config


def nodes(tree: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(tree, dict):
        if "_target_" in tree:
            yield place, tree
        for key, value in tree.items():
            yield from nodes(value, f"{place}.{key}")
    if isinstance(tree, list):
        for value in tree:
            yield from nodes(value, place)


def check_complete(config: DictConfig) -> int:
    """Count nodes; every parameter without a default is given."""
    found = list(nodes(OmegaConf.to_container(config, resolve=False), ""))
    for place, node in found:
        target = resolve(node["_target_"], place)
        assert not isinstance(target, Problem), target
        lacking = parameters(target).required - set(node)
        assert not lacking, f"{place}: {target} also needs {lacking}"
    return len(found)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_fits_its_class(option: str) -> None:
    group, name = option.rsplit("/", 1)
    if group == "local":
        # stands at the end of the defaults list as `local: default`
        text = (FOLDER / f"{option}.yaml").read_text()
        assert text.startswith("# @package _global_\n")
        return
    if group == "audit":
        config = complete([f"{group}={name}"], "evaluate", EvaluateConfig)
        assert check_complete(config.audit) == sum(n is not None for n in config.audit.values())
        return
    if group == "refusal":
        for entry, schema in (("evaluate", EvaluateConfig), ("embed", EmbedConfig)):
            config = complete([f"{group}={name}"], entry, schema)
            assert check_complete(config.refusal) > 1
        return
    # parts of a sweep stand in one
    inside = ["sweep=default"] if group.startswith("sweep/") else []
    config = complete([*inside, f"{group}={name}"], "train")
    assert check_complete(config) >= 10


@pytest.mark.parametrize(
    "option", [o.split("/")[1] for o in OPTIONS if o.count("/") == 1 and o.startswith("data/")]
)
def test_every_source_of_data_can_be_embedded(option: str) -> None:
    config = complete([f"data={option}"], "embed", EmbedConfig)
    assert config.data.reader._target_.startswith("recart.data.")


def test_the_entry_points_compose_as_they_are() -> None:
    assert check_complete(complete([], "train")) >= 10
    evaluate = complete([], "evaluate", EvaluateConfig)
    assert list(evaluate) == [
        *("run", "study", "audit", "refusal"),
        *("permutations", "permutation_repeats", "permute_within", "place_columns"),
        "subgroups",
        *("bundle", "bundle_force", "data", "output", "seed"),
    ]


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.y*ml")), ids=lambda p: p.stem)
def test_files_end_in_yaml_and_say_what_they_are(path: Path) -> None:
    assert path.suffix == ".yaml"
    text = path.read_text()
    if path.parent.name == "experiment":
        assert text.startswith("# @package _global_\n")


def test_the_interpolated_seed_reaches_the_simulator() -> None:
    config = compose(["seed=11"])
    assert config.data.reader.seed == 11
