"""Ranges of the fields of recipes: what nothing can be fitted with is refused as it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final, NamedTuple

__all__ = ["ABOVE_ZERO", "AT_LEAST_ONE", "NOT_NEGATIVE", "SHARE", "Range", "outside", "require"]


class Range(NamedTuple):
    """Values that a field of a recipe may have, in words and as what admits them."""

    words: str
    admits: Callable[[Any], bool]


AT_LEAST_ONE: Final = Range("at least 1", lambda x: x >= 1)
NOT_NEGATIVE: Final = Range("at least 0", lambda x: 0 <= x < float("inf"))
ABOVE_ZERO: Final = Range("above 0", lambda x: 0 < x < float("inf"))
SHARE: Final = Range("at least 0 and below 1", lambda x: 0 <= x < 1)


def outside(recipe: Any, ranges: Mapping[str, Range]) -> list[str]:
    """The fields of a recipe that are outside of their `ranges`, or null where none may be."""
    wrong = []
    optional = {
        own.name for own in fields(recipe) if own.default is None or "None" in str(own.type)
    }
    for name in (own.name for own in fields(recipe)):
        value = getattr(recipe, name)
        parts = {f"{name}.{key}": own for key, own in value.items()} if type(value) is dict else {}
        given = {name: value, **parts} if name not in optional else parts
        if null := [key for key, own in given.items() if own is None]:
            wrong += [f"{key} is null" for key in null]
        elif value is not None and name in ranges and not ranges[name].admits(value):
            wrong.append(f"{name}={value} ({ranges[name].words})")
    return wrong


def require(recipe: Any, ranges: Mapping[str, Range]) -> None:
    """Refuse a recipe that nothing can be fitted with.

    Raises
    ------
    ValueError
        With all fields that are null or outside of their range.
    """
    if wrong := outside(recipe, ranges):
        raise ValueError("; ".join(wrong))
