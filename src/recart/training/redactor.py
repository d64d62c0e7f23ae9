"""What of a configuration may leave the machine: numbers, and recart's own words.

The list says what may pass, not what may not: a string that is not known to be harmless is hidden,
whatever it is. A number passes where a class of recart takes a number: where names or values of the
cohort may stand, a number may be the number of a patient.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

from recart.config.build import TARGET
from recart.config.schema import TrainConfig
from recart.config.targets import parameters, resolve
from recart.problems import Problem

__all__ = ["HIDDEN", "redact", "redact_metrics", "redact_parts", "redact_rows"]

HIDDEN: Final = "<hidden>"

# Words of the configuration that say how, never who or where.
_WORDS: Final = frozenset(
    {
        *("patient", "sample"),
        *("auto", "cpu", "gpu", "cuda", "mps"),
        *("32-true", "16-mixed", "bf16-mixed", "64-true"),
        *("offline", "online"),
        *("error", "sum", "first", "ensembl"),
        *("inner_loss", "encoder_loss"),
    }
)
# Keys whose values are the cohort's, or the user's own words; nothing below them passes.
_OF_THE_COHORT: Final = frozenset(
    {
        *("name", "paths", "path", "sheet", "samples", "endpoint", "positive", "negative"),
        *("exclude", "timepoints", "tissues", "car_genes", "columns", "project", "entity"),
    }
)
# names of metrics: lower-case words of letters, with the numbers that some end in
_NAME: Final = re.compile(r"lr-[A-Za-z]+|[a-z][a-z_]*[0-9]?(?:[/_-][a-z][a-z_]*[0-9]?){0,4}")
# what an annotation holds where a number is a setting
_NUMBER: Final = re.compile(r"\b(int|float|bool)\b")
# values that a sweep tries: strings among them are hidden, numbers are those of settings
_TRIED: Final = frozenset({"options"})
_HASHES: Final = frozenset({"sha256", "commit", "store_key"})
_HASH: Final = re.compile(r"[0-9a-f]{7,64}")


def redact(config: DictConfig) -> dict[str, Any]:
    """A copy of a training configuration that names no person, place, path or column.

    Keys are the schema's and the parameters of the classes; any other key becomes `entry_<n>`.
    """
    tree = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    return _mapping(typing.cast("dict[Any, Any]", tree), TrainConfig)


def redact_parts(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Components by a name of recart's, `model/latent`; any other name becomes `entry_<n>`."""
    return {
        name if _NAME.fullmatch(name) else f"entry_{number}": _value(own, numbers=False)
        for number, (name, own) in enumerate(parts.items())
    }


def redact_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of an epoch or an evaluation: what is no number is left out.

    A name that does not look like one of recart's, `validation/rna`, becomes `entry_<n>`.
    """
    return {
        name if _NAME.fullmatch(name) else f"entry_{number}": float(value)
        for number, (name, value) in enumerate(metrics.items())
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def redact_rows(
    rows: Sequence[Mapping[str, Any]], words: Collection[str]
) -> list[dict[str, float | str]]:
    """A table of an evaluation: numbers, and those of recart's own words that `words` lists.

    Its columns are recart's; any other becomes `entry_<n>`.
    """
    return [
        {
            (name if _NAME.fullmatch(name) else f"entry_{number}"): _cell(value, words)
            for number, (name, value) in enumerate(row.items())
        }
        for row in rows
    ]


def _cell(value: Any, words: Collection[str]) -> float | str:
    if isinstance(value, int | float):
        return value
    return value if value in words else HIDDEN


def _mapping(tree: dict[Any, Any], schema: Any) -> dict[str, Any]:
    """A mapping, its keys checked against a schema or against the class that it targets."""
    hints: dict[str, Any] = {}
    if dataclasses.is_dataclass(schema):
        hints = typing.get_type_hints(schema)
    elif TARGET in tree:
        target = resolve(tree[TARGET], "")
        if not isinstance(target, Problem):
            own = {name: found.annotation for name, found in parameters(target).items()}
            hints = {TARGET: str, **own}
    result: dict[str, Any] = {}
    for number, (key, value) in enumerate(tree.items()):
        name = key if key in hints else f"entry_{number}"
        if key == TARGET:
            # a class that is not allowed cannot be built, but its name may still be a secret
            result[name] = value if hints else HIDDEN
        elif key in _OF_THE_COHORT:
            result[name] = None if value is None else HIDDEN
        elif isinstance(value, dict):
            result[name] = _mapping(value, hints.get(key))
        elif key in _HASHES and isinstance(value, str) and _HASH.fullmatch(value):
            result[name] = value
        else:
            numbers = bool(_NUMBER.search(str(hints.get(key)))) or (key in hints and key in _TRIED)
            result[name] = _value(value, numbers=numbers)
    return result


def _value(value: Any, *, numbers: bool) -> Any:
    """A value as it may leave; `numbers` says whether those are settings where it stands."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if numbers else HIDDEN
    if isinstance(value, list | tuple):
        return [_value(entry, numbers=numbers) for entry in value]
    if isinstance(value, dict):
        return _mapping(value, None)
    return value if value in _WORDS else HIDDEN
