"""Turns what Hydra and OmegaConf say about a configuration into a problem with its mend."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recart.config.targets import nearest
from recart.problems import InputError, Problem

__all__ = ["NO_GROUP_OF_NONE", "translate"]

NO_GROUP_OF_NONE: Final = "Config group override must be a string or a list"
"""What Hydra says, as a bare `ValueError`, to `head=null`; it does not name the group."""

_FILE: Final = re.compile(r"^In '([^']+)'")
_NO_OPTION: Final = re.compile(r"Could not find '([^']+)'")
_NO_KEY: Final = re.compile(
    r"Could not override '([^']+)'|Could not delete from config\. '([^']+)'"
    r"|Could not append to config\. An item is already at '([^']+)'"
)
_NOT_IN_SCHEMA: Final = re.compile(r"Key '([^']+)' not in '([^']+)'")
_NO_VALUE: Final = re.compile(r"[Mm]issing mandatory value: (\S+)")
_FULL_KEY: Final = re.compile(r"full_key: (\S+)")
# Where the parts of the schema stand; OmegaConf names a key of a file from its part only.
_PLACES: Final = {"DataConfig": "data.", "PathsConfig": "paths."}


def translate(
    error: Exception, folder: Path, entry: str, overrides: Sequence[str] = ()
) -> InputError:
    """The problem behind an error of composition.

    Parameters
    ----------
    error
        What Hydra or OmegaConf raised.
    folder
        The folder of the configuration files.
    entry
        Name of the entry point's file, without `.yaml`.
    overrides
        As on the command line: the options that they choose say which keys there are.
    """
    chosen = _chosen(overrides, folder)
    text = str(error)
    found = _FILE.search(text)
    file = f"configs/{found[1]}.yaml" if found and found[1] != entry else ""
    if option := _NO_OPTION.search(text):
        return _one(_no_option(option[1], folder))
    if key := _NO_KEY.search(text):
        return _one(_no_key(next(filter(None, key.groups())), folder, entry, chosen))
    if key := _NOT_IN_SCHEMA.search(text):
        problem = _no_key(_PLACES.get(key[2], "") + key[1], folder, entry, chosen)
        mend = problem.mend
        if key[1] == "experiment":
            mend = "begin the file with the line `# @package _global_`"
        return _one(replace(problem, file=file, mend=mend))
    if NO_GROUP_OF_NONE in text:
        return _one(
            Problem(
                code="E-CONFIG-012",
                what="null was given for a group of configs/, such as head or experiment",
                mend="leave the group out for its default, or name one of its options",
            )
        )
    if type(error).__name__ == "OverrideParseException":
        what = text.splitlines()[0]
        return _one(
            Problem(
                code="E-CONFIG-011",
                what=what,
                mend="an override is key=value; a value with blanks or brackets needs quotes "
                "around key and value, then around the value: 'key=\"a (b)\"'",
            )
        )
    if absent := _NO_VALUE.search(text):
        return _one(
            Problem(
                code="E-CONFIG-006",
                column=absent[1],
                what=f"{absent[1]} has no value",
                mend=f"set it: {absent[1]}=...",
            )
        )
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    lines = [line.strip() for line in f"{cause or ''}\n{text}".splitlines() if line.strip()]
    place = _FULL_KEY.search("\n".join(lines))
    column = place[1] if place else ""
    what = next((line for line in lines if not _FILE.match(line)), text)
    return _one(
        Problem(
            code="E-CONFIG-010",
            column=column,
            file=file,
            what=what,
            mend=f"correct {column or 'it'} on the command line or in the file",
        )
    )


def _one(problem: Problem) -> InputError:
    return InputError([problem])


def _no_option(path: str, folder: Path) -> Problem:
    group, _, option = path.rpartition("/")
    options = [file.stem for file in (folder / group).glob("*.yaml")]
    if not group:
        return Problem(
            code="E-CONFIG-008",
            file=f"configs/{path}.yaml",
            what="there is no such file",
            mend=nearest(path, options),
        )
    if not options:
        return Problem(
            code="E-CONFIG-008",
            column=group,
            what=f"{group} has no option {option}",
            mend=f"write configs/{path}.yaml, or leave {group} out",
        )
    return Problem(
        code="E-CONFIG-008",
        column=group,
        what=f"{group} has no option {option}",
        mend=nearest(option, options),
    )


def _chosen(overrides: Sequence[str], folder: Path) -> list[str]:
    """The overrides that choose files of groups, of a multirun the first of each."""
    pairs = [own.partition("=") for own in overrides]
    return [
        f"{key}={value.partition(',')[0]}"
        for key, _, value in pairs
        if value and (folder / key.lstrip("+")).is_dir()
    ]


def _no_key(key: str, folder: Path, entry: str, chosen: Sequence[str]) -> Problem:
    what = f"there is no key {key}"
    if "/" in key:
        groups = [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_dir()]
        return Problem(code="E-CONFIG-009", column=key, what=what, mend=nearest(key, groups))
    paths = set(_reference_keys(folder, entry, chosen))
    if key in paths:  # the value does not fit, such as a dict of keys that are not there
        place = key.replace(".", "/")
        file = f", or write configs/{place}/<name>.yaml" if (folder / place).is_dir() else ""
        what, mend = f"{key} can't be given this value", f"set {key}.<key>=... one by one{file}"
        return Problem(code="E-CONFIG-009", column=key, what=what, mend=mend)
    parent, _, name = key.rpartition(".")
    while parent and parent not in paths:  # the first part of the path that is wrong
        parent, _, name = parent.rpartition(".")
    siblings = {p[len(parent) :].lstrip(".").split(".")[0] for p in paths if _under(p, parent)}
    mend = nearest(name, siblings)
    group = folder / parent.replace(".", "/")
    elsewhere = any(path.endswith(f".{name}") for path in paths)
    if parent and not elsewhere and (group / f"{name}.yaml").is_file():
        mend = f"it is a key of {parent.replace('.', '/')}={name}: choose that as well"
    elif not siblings and group.is_dir():
        files = sorted(path.stem for path in group.glob("*.yaml"))
        mend = f"no file of configs/{group.relative_to(folder)} is chosen; there are: "
        mend += ", ".join(f"{group.relative_to(folder)}={own}" for own in files)
    elif mend.startswith("did you mean "):
        near = mend.removeprefix("did you mean ").rstrip("?")
        mend = f"did you mean {f'{parent}.{near}' if parent else near}?"
    else:
        last = key.rpartition(".")[2]
        same = sorted(p for p in paths if p.rpartition(".")[2] == last)
        mend = f"did you mean {same[0]}?" if same else f"under {parent or 'the root'} {mend}"
    return Problem(code="E-CONFIG-009", column=key, what=what, mend=mend)


def _under(path: str, parent: str) -> bool:
    return not parent or path.startswith(f"{parent}.")


def _reference_keys(folder: Path, entry: str, chosen: Sequence[str]) -> Iterator[str]:
    """Every dotted key of the entry point's configuration with these options, else of the default.

    Where the default itself is what is wrong, those of the schema.
    """
    import hydra
    from hydra.errors import HydraException

    from recart.config.schema import SCHEMAS, register

    def walk(tree: Any, place: str) -> Iterator[str]:
        if isinstance(tree, dict):
            for key, value in tree.items():
                path = f"{place}.{key}" if place else str(key)
                yield path
                yield from walk(value, path)

    register()
    tree = OmegaConf.structured(SCHEMAS[entry])
    for own in (list(chosen), []):
        with (
            suppress(HydraException, OmegaConfBaseException),
            hydra.initialize_config_dir(str(folder), version_base="1.3"),
        ):
            tree = hydra.compose(entry, overrides=own)
            break
    yield from walk(OmegaConf.to_container(tree, resolve=False), "")
