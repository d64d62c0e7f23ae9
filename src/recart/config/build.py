"""The one place where a configuration becomes objects.

Every node of the tree is checked, on the resolved classes, before the first one is made. Only plain
Python goes into constructors. `_partial_`, `_args_` and their like do not exist here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recart.config.targets import fits, in_words, nearest, parameters, resolve
from recart.problems import InputError, Problem, Problems

__all__ = ["TARGET", "build", "build_each", "check_group", "check_tree", "plain"]

TARGET: Final = "_target_"
_ABSENT: Final = re.compile(r"[Mm]issing mandatory value: (\S+)")


def build(node: Any, **extra: Any) -> Any:
    """The object that a node describes.

    Parameters
    ----------
    node
        A mapping with `_target_`; its other keys are parameters of that class, nodes among them
        are built first.
    extra
        Further parameters of the outermost class, passed as they are; they win over the node's.

    Raises
    ------
    InputError
        If anything in the tree is not an allowed class, a key is no parameter of its class, a value
        has the wrong type, a parameter is missing, or a constructor refuses a value.
    """
    place = _place(node)
    tree = plain(node)
    problems = Problems()
    if not isinstance(tree, dict) or TARGET not in tree:
        problems.error(_without_target(place, tree, node))
    else:
        check_tree(tree, place, problems)
    problems.raise_if_any()
    return _make(tree, place, extra)


def build_each(nodes: Any, **extra: Any) -> dict[str, Any]:
    """The objects of a group of named nodes (callbacks, loggers, baselines); null leaves one out.

    Raises
    ------
    InputError
        As `build`, and if an entry has no `_target_`.
    """
    place = _place(nodes)
    tree = plain(nodes) or {}
    problems = Problems()
    check_group(tree, place, problems)
    problems.raise_if_any()
    return {
        name: _make(entry, f"{place}.{name}", extra)
        for name, entry in tree.items()
        if entry is not None
    }


def check_group(tree: Mapping[str, Any], place: str, problems: Problems) -> None:
    """Check a group of named nodes: each has a target and a sound tree."""
    for name, entry in tree.items():
        if entry is None:
            continue
        if not isinstance(entry, dict) or TARGET not in entry:
            siblings = [n for n, e in tree.items() if isinstance(e, dict) and TARGET in e]
            hint = nearest(str(name), siblings)
            problems.error(
                Problem(
                    code="E-CONFIG-002",
                    column=f"{place}.{name}",
                    what=f"{name} has no {TARGET}, so nothing would read it",
                    mend=f"{hint}; a new entry needs a {TARGET}",
                )
            )
        else:
            check_tree(entry, f"{place}.{name}", problems)


def check_tree(tree: Any, place: str, problems: Problems) -> None:
    """Check every node of a plain tree, nothing is made: targets, keys, types of plain values."""
    if isinstance(tree, list | tuple):
        for i, entry in enumerate(tree):
            check_tree(entry, f"{place}[{i}]", problems)
    if not isinstance(tree, dict):
        return
    for key, entry in tree.items():
        check_tree(entry, f"{place}.{key}" if place else str(key), problems)
    hidden = [key for key in tree if str(key).startswith("_") and key != TARGET]
    for key in hidden:
        problems.error(
            Problem(
                code="E-CONFIG-001",
                column=f"{place}.{key}",
                what=f"{key} has no meaning here",
                mend=f"remove it; {nearest(str(key), [TARGET])}",
            )
        )
    if TARGET not in tree:
        return
    target = resolve(tree[TARGET], place)
    if isinstance(target, Problem):
        problems.error(target)
        return
    takes = parameters(target)
    for key, value in tree.items():
        if key == TARGET or key in hidden:
            continue
        if key not in takes and not takes.open:
            problems.error(
                Problem(
                    code="E-CONFIG-003",
                    column=f"{place}.{key}",
                    what=f"{target.__module__}.{target.__qualname__} has no parameter {key}",
                    mend=nearest(str(key), takes),
                )
            )
        elif not fits(value, takes.types.get(key, Any)):
            kind = takes.types[key]
            problems.error(
                Problem(
                    code="E-CONFIG-004",
                    column=f"{place}.{key}",
                    what=f"{value!r} is not of type {in_words(kind)}",
                    mend=f"give {target.__qualname__} a value of that type",
                )
            )


def plain(node: Any) -> Any:
    """Plain Python, interpolations resolved.

    Raises
    ------
    InputError
        If an interpolation leads nowhere or a mandatory value is missing.
    """
    if not OmegaConf.is_config(node):
        return node
    try:
        return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = str(error.full_key or _place(node))
        what, mend = str(error).splitlines()[0], "correct the reference ${...}"
        if found := _ABSENT.search(str(error)):
            key = found[1] if "." in found[1] else key
            what, mend = f"{key} has no value", f"set it: {key}=..."
        problem = Problem(code="E-CONFIG-006", column=key, what=what, mend=mend)
        raise InputError([problem]) from None


def _make(tree: Any, place: str, extra: Mapping[str, Any]) -> Any:
    """Make a checked tree, from the leaves up."""
    if isinstance(tree, list | tuple):
        return [_make(entry, f"{place}[{i}]", {}) for i, entry in enumerate(tree)]
    if not isinstance(tree, dict):
        return tree
    values = {key: _make(entry, f"{place}.{key}", {}) for key, entry in tree.items()}
    if TARGET not in tree:
        return values
    target = resolve(values.pop(TARGET), place)
    if isinstance(target, Problem):
        raise InputError([target])
    values.update(extra)
    missing = sorted(parameters(target).required - set(values))
    if missing:
        problem = Problem(
            code="E-CONFIG-006",
            column=f"{place}.{missing[0]}",
            what=f"{target.__qualname__} needs {', '.join(missing)}",
            mend="give every parameter a value",
        )
        raise InputError([problem])
    try:
        return target(**values)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        problem = Problem(
            code="E-CONFIG-004",
            column=place,
            what=f"{target.__qualname__} refuses its values: {error}",
            mend="correct the values under this key",
        )
        raise InputError([problem]) from error


def _place(node: Any) -> str:
    if not OmegaConf.is_config(node):
        return ""
    return str(node._get_full_key(None) or "")


def _without_target(place: str, tree: Any, node: Any) -> Problem:
    name = place.rsplit(".", 1)[-1] or "the node"
    options: list[str] = []
    if isinstance(tree, dict):
        options = [str(key) for key in tree]
    hint = f"give it a {TARGET}"
    close = nearest(TARGET, options) if options else ""
    if close.startswith("did you mean"):
        hint = f"{close.removeprefix('did you mean ').rstrip('?')} stands where {TARGET} belongs"
    elif isinstance(node, DictConfig) and isinstance(node._get_parent(), DictConfig):
        parent: Any = OmegaConf.to_container(node._get_parent(), resolve=False)
        siblings = [str(k) for k, v in parent.items() if isinstance(v, dict) and TARGET in v]
        if siblings:
            hint = f"give it a {TARGET}, or {nearest(name, siblings)}"
    return Problem(
        code="E-CONFIG-002",
        column=place,
        what=f"{name} has no {TARGET}, so nothing can be built from it",
        mend=hint,
    )
