"""The search space: typed distributions over keys of the configuration."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["Choice", "Distribution", "Float", "Int", "Value", "flat_space"]

Value = bool | int | float | str | None


class Distribution(ABC):
    """What values a key may take."""

    @abstractmethod
    def faults(self) -> Iterator[str]:
        """What is wrong with the distribution itself."""

    @abstractmethod
    def probes(self) -> Sequence[Value]:
        """The values at which a configuration is tried before anything is trained."""

    @property
    @abstractmethod
    def values(self) -> Sequence[Value] | None:
        """All values; None where they are not to be counted."""

    @abstractmethod
    def contains(self, value: object) -> bool:
        """Whether the value may be drawn."""

    @abstractmethod
    def optuna(self) -> BaseDistribution:
        """The same in Optuna's terms."""


@final
@dataclass(frozen=True, kw_only=True)
class Float(Distribution):
    """A number from `low` to `high`, both included; `log` draws it by orders of magnitude.

    `step` is the distance between the values; None has no steps.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def faults(self) -> Iterator[str]:
        """What is wrong with the range."""
        yield from _range_faults(self.low, self.high, self.log)
        if self.step is not None and (self.log or self.step <= 0):
            yield f"step {self.step}: a step is above 0, and there is none on a logarithmic scale"

    def probes(self) -> Sequence[Value]:
        """Both ends."""
        return [float(self.low), float(self.high)]

    @property
    def values(self) -> Sequence[Value] | None:
        """Those of a range with steps."""
        if self.step is None:
            return [float(self.low)] if self.low == self.high else None
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return [self.low + i * self.step for i in range(count)]

    def contains(self, value: object) -> bool:
        """Whether the value lies in the range."""
        return _is_number(value) and self.low <= value <= self.high  # type: ignore[operator]

    def optuna(self) -> BaseDistribution:
        """A `FloatDistribution`."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(float(self.low), float(self.high), log=self.log, step=self.step)


@final
@dataclass(frozen=True, kw_only=True)
class Int(Distribution):
    """A whole number from `low` to `high`, both included, in steps of `step`."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    def faults(self) -> Iterator[str]:
        """What is wrong with the range."""
        yield from _range_faults(self.low, self.high, self.log)
        if self.step < 1 or (self.log and self.step != 1):
            yield f"step {self.step}: a step is at least 1, and 1 on a logarithmic scale"

    def probes(self) -> Sequence[Value]:
        """Both ends."""
        return [self.low, self.high]

    @property
    def values(self) -> Sequence[Value] | None:
        """All of them."""
        return list(range(self.low, self.high + 1, self.step))

    def contains(self, value: object) -> bool:
        """Whether the value lies in the range."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and value in range(self.low, self.high + 1, self.step)

    def optuna(self) -> BaseDistribution:
        """An `IntDistribution`."""
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high, log=self.log, step=self.step)


@final
@dataclass(frozen=True, kw_only=True)
class Choice(Distribution):
    """One of `options`: values of a key, or names of the files of a group (`head: prototypes`)."""

    options: Sequence[Any]

    def faults(self) -> Iterator[str]:
        """What is wrong with the options."""
        if not self.options:
            yield "there is nothing to choose from"
        nested = [own for own in self.options if not isinstance(own, bool | int | float | str)]
        if any(own is not None for own in nested):
            yield f"options are plain values, not {nested[0]!r}"
        elif len({repr(own) for own in self.options}) < len(self.options):
            yield "an option stands there twice"

    def probes(self) -> Sequence[Value]:
        """All options."""
        return list(self.options)

    @property
    def values(self) -> Sequence[Value] | None:
        """All options."""
        return list(self.options)

    def contains(self, value: object) -> bool:
        """Whether the value is an option."""
        return any(type(own) is type(value) and own == value for own in self.options)

    def optuna(self) -> BaseDistribution:
        """A `CategoricalDistribution`."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(tuple(self.options))


def flat_space(space: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Dotted keys and what stands there, in the order of the keys.

    Whatever is no `Distribution` and no mapping is left for the check to refuse.
    """
    found: dict[str, Any] = {}
    for key, own in space.items():
        path = f"{place}.{key}" if place else str(key)
        if isinstance(own, Mapping):
            found |= flat_space(own, path)
        elif own is not None:  # null takes a key of a shipped space out of it
            found[path] = own
    return dict(sorted(found.items())) if not place else found


def _range_faults(low: float, high: float, log: bool) -> Iterator[str]:
    if not (math.isfinite(low) and math.isfinite(high)):
        yield f"from {low} to {high} is no finite range"
    elif low > high:
        yield f"low {low} is above high {high}"
    if log and low <= 0:
        yield f"low {low}: a logarithmic scale begins above 0"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
