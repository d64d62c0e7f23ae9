"""Which classes a configuration may name, and what their constructors take.

A configuration is input like any other: a `_target_` may name recart's own public classes and the
few of Lightning and torch listed here, nothing else. The decision falls on the resolved class and
where it was defined, so that no alias, re-import or attribute path leads around it.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import typing
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import NoneType, UnionType
from typing import Any, Final

from recart.problems import Problem

__all__ = ["EXTERNAL", "Parameters", "fits", "in_words", "nearest", "parameters", "resolve"]

EXTERNAL: Final = frozenset(
    {
        "lightning.pytorch.callbacks.DeviceStatsMonitor",
        "lightning.pytorch.callbacks.LearningRateMonitor",
        "lightning.pytorch.callbacks.Timer",
        "lightning.pytorch.loggers.CSVLogger",
        "lightning.pytorch.loggers.TensorBoardLogger",
        "torch.optim.Adam",
        "torch.optim.AdamW",
    }
)

# Parts that begin with an underscore are private, `__globals__` and the like among them.
_PATH: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+", re.ASCII)
_PRIMITIVE: Final = (bool, int, float, str, NoneType)


def nearest(name: str, options: Iterable[str]) -> str:
    """The option nearest to a misspelt name, `did you mean X?`; else the list of all options."""
    known = sorted(set(options))
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if match:
        return f"did you mean {match[0]}?"
    return f"there are: {', '.join(known)}" if known else "there are none"


def resolve(target: object, place: str) -> type[Any] | Problem:
    """The class that a target names, or why it is refused. Nothing but recart is imported for it.

    Parameters
    ----------
    target
        Value of `_target_`.
    place
        Where it stands in the configuration, for the message.
    """
    if not isinstance(target, str) or not _PATH.fullmatch(target):
        return _refused(place, f"_target_ {target!r} is not the path of a public class")
    if target in EXTERNAL:
        module, name = target.rsplit(".", 1)
        found = getattr(importlib.import_module(module), name)
        return typing.cast("type[Any]", found)
    if not target.startswith("recart."):
        return _refused(place, f"_target_ {target} is not on the list of allowed classes")
    module, name = target.rsplit(".", 1)
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is not None and not error.name.startswith("recart"):
            return Problem(
                code="E-CONFIG-005",
                column=f"{place}._target_",
                what=f"{target} needs the package {error.name}, which is not installed",
                mend=f"pip install {error.name}, or choose another {place}",
            )
        return _unknown(place, target)
    except AttributeError:
        return _unknown(place, target)
    if not isinstance(found, type) or not _own(found, module):
        if isinstance(found, type) and found.__module__.startswith("recart."):
            place_now = f"{found.__module__}.{found.__qualname__}"
            refused = _refused(place, f"_target_ {target} is not where {name} is defined")
            return replace(refused, mend=f"write {place_now}")
        return _refused(place, f"_target_ {target} is not a class of recart")
    return found


def _own(found: type[Any], module: str) -> bool:
    """Whether a class was defined in this module, or in a package that re-exports it."""
    home = found.__module__
    return home == module or (
        home.startswith(f"{module}.") and found.__qualname__ == found.__name__
    )


def _refused(place: str, what: str) -> Problem:
    return Problem(
        code="E-CONFIG-001",
        column=f"{place}._target_" if place else "_target_",
        what=what,
        mend="name a class of recart; the shipped files in configs/ show which stand where",
    )


def _unknown(place: str, target: str) -> Problem:
    module, name = target.rsplit(".", 1)
    try:
        options = [
            f"{module}.{key}"
            for key, value in vars(importlib.import_module(module)).items()
            if isinstance(value, type) and _own(value, module) and not key.startswith("_")
        ]
        hint = nearest(target, options)
    except ModuleNotFoundError:
        hint = f"there is no module {module}"
    return Problem(
        code="E-CONFIG-001",
        column=f"{place}._target_" if place else "_target_",
        what=f"there is no {name} in {module}",
        mend=hint,
    )


class Parameters(dict[str, inspect.Parameter]):
    """Parameters of a constructor by name, and the types that their annotations give."""

    def __init__(self, target: type[Any]) -> None:
        found = inspect.signature(target).parameters
        super().__init__(
            (name, parameter)
            for name, parameter in found.items()
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        )
        self.open = any(p.kind is p.VAR_KEYWORD for p in found.values())
        # a class body annotates the fields of a dataclass, else the constructor's own
        own = target if "__dataclass_fields__" in vars(target) else target.__init__
        self.types = _types(own)

    @property
    def required(self) -> set[str]:
        """Names without a default."""
        return {name for name, p in self.items() if p.default is p.empty}


def in_words(annotation: Any) -> str:
    """An annotated type as a user knows it: a sequence is a list."""
    if isinstance(annotation, type):
        return annotation.__name__
    return str(annotation).replace("collections.abc.Sequence", "list")


def _types(own: Any) -> dict[str, Any]:
    """Types by name; anything where an annotation has names that the type checker alone imports."""
    names: dict[str, Any] = {}
    while True:
        try:
            return typing.get_type_hints(own, localns=names or None)
        except NameError as error:
            if error.name is None or error.name in names:
                return {}
            names[error.name] = Any
        except TypeError:
            return {}


def parameters(target: type[Any]) -> Parameters:
    """What the constructor of a class takes."""
    return Parameters(target)


def fits(value: object, annotation: Any) -> bool:
    """Whether a plain value is of an annotated type, where that is a plain type or a union of them.

    An int is a float, and a word is no sequence of letters; everything else that is not plain on
    either side is left to the constructor.
    """
    options = (
        typing.get_args(annotation)
        if isinstance(annotation, UnionType) or typing.get_origin(annotation) is typing.Union
        else (annotation,)
    )
    plain = [option for option in options if typing.get_origin(option) is not Sequence]
    kind = type(value)
    if any(option not in _PRIMITIVE for option in plain) or kind not in _PRIMITIVE:
        return True
    return kind in options or (kind is int and float in options)
