"""Checks a composed configuration as a whole, before anything is read or trained."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recart.config.build import TARGET, check_group, check_tree
from recart.config.schema import EmbedConfig, EvaluateConfig, TrainConfig
from recart.config.targets import nearest
from recart.problems import InputError, Problem, Problems

__all__ = ["asks_outside", "check_config"]

# New patients have no outcome yet; of a given model's endpoint the model knows the name.
_MAY_BE_MISSING: Final = {EmbedConfig: {"data.endpoint"}, EvaluateConfig: {"data.endpoint"}}


def asks_outside(config: DictConfig) -> bool:
    """Whether `evaluate.py` is asked to evaluate on other patients than the run's own."""
    named = any(not OmegaConf.is_missing(config.data, key) for key in ("path", "endpoint"))
    return named or config.output is not None


def check_config(config: DictConfig, schema: type[Any] = TrainConfig) -> None:
    """Check keys against the schema, and every component against the class that it names.

    Raises
    ------
    InputError
        With every mandatory value that is missing, every key that nothing reads, every class that
        is not allowed and every value of a wrong type.
    """
    problems = Problems()
    if schema is EvaluateConfig and not asks_outside(config):
        config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "data"])
    absent = set(_absent(OmegaConf.to_container(config, resolve=False), ""))
    for key in sorted(absent - _MAY_BE_MISSING.get(schema, set())):
        problems.error(
            Problem(
                code="E-CONFIG-006",
                column=key,
                what=f"{key} has no value",
                mend=f"set it on the command line, {key}=..., or in an experiment file",
            )
        )
    problems.raise_if_any()
    try:
        tree: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        problem = Problem(
            code="E-CONFIG-006",
            column=str(error.full_key),
            what=str(error).splitlines()[0],
            mend="correct the reference ${...}",
        )
        raise InputError([problem]) from None
    _check_fields(tree, schema, "", problems)
    if schema is TrainConfig:
        _check_members_per_job(tree.get("members_per_job"), problems)
    problems.raise_if_any()


def _check_fields(tree: Any, schema: type[Any], place: str, problems: Problems) -> None:
    hints = typing.get_type_hints(schema)
    fields = {field.name: field for field in dataclasses.fields(schema)}
    for key, entry in tree.items():
        path = f"{place}.{key}" if place else str(key)
        if key not in fields:
            problems.error(
                Problem(
                    code="E-CONFIG-007",
                    column=path,
                    what=f"nothing reads the key {key}",
                    mend=nearest(str(key), fields),
                )
            )
        elif dataclasses.is_dataclass(hints[key]):
            _check_fields(entry, typing.cast("type[Any]", hints[key]), path, problems)
        elif hints[key] == dict[str, Any]:
            check_group(entry, path, problems)
        elif hints[key] is Any and key != "columns" and entry is not None:
            _check_component(entry, path, problems)


def _check_component(entry: Any, path: str, problems: Problems) -> None:
    if isinstance(entry, dict) and TARGET in entry:
        check_tree(entry, path, problems)
        return
    group = path.replace(".", "/")
    problems.error(
        Problem(
            code="E-CONFIG-002",
            column=path,
            what=f"{path} has no {TARGET}, so nothing can be built from it",
            mend=f"choose a file of configs/{group} ({group}=<name>), or give it a {TARGET}",
        )
    )


def _check_members_per_job(value: object, problems: Problems) -> None:
    if value in (None, "auto") or (isinstance(value, int) and value >= 1):
        return
    problems.error(
        Problem(
            code="E-CONFIG-004",
            column="members_per_job",
            what=f"{value!r} is neither auto nor null nor a number of members",
            mend="use auto, null for all in one stack, or a number from 1",
        )
    )


def _absent(tree: Any, place: str) -> Iterator[str]:
    """Keys whose value is still `???`."""
    if isinstance(tree, dict):
        for key, entry in tree.items():
            yield from _absent(entry, f"{place}.{key}" if place else str(key))
    elif tree == "???":
        yield place
