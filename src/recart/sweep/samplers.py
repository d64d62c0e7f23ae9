"""How configurations are drawn: at random, from a grid, or from what earlier trials found."""

from __future__ import annotations

import itertools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from recart.ranges import AT_LEAST_ONE, NOT_NEGATIVE, Range, require
from recart.sweep.space import Distribution, Value

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

__all__ = ["CmaEs", "Grid", "Nsga2", "Random", "Sampler", "Tpe"]

Space = Mapping[str, Distribution]

_SEVERAL = Range("at least 2", lambda x: x >= 2)


class Sampler(ABC):
    """Draws configurations, a generation at a time.

    What a generation is depends on the trials of earlier generations alone, never on which trial of
    its own ended first: so a sweep that was interrupted draws what it would have drawn.
    """

    @property
    @abstractmethod
    def generation(self) -> int | None:
        """Trials that are drawn at once; None draws all of them."""

    @abstractmethod
    def optuna(self, space: Space, seed: int) -> BaseSampler:
        """The sampler in Optuna's terms."""

    def every(self, space: Space, seed: int) -> list[dict[str, Value]] | None:  # noqa: ARG002
        """All configurations in their order, where they are counted and not drawn."""
        return None


@final
@dataclass(frozen=True, kw_only=True)
class Random(Sampler):
    """Independent draws: nothing is learnt from one trial for the next."""

    @property
    def generation(self) -> int | None:
        """All at once."""
        return None

    def optuna(self, space: Space, seed: int) -> BaseSampler:  # noqa: ARG002
        """Optuna's random sampler."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)


@final
@dataclass(frozen=True, kw_only=True)
class Grid(Sampler):
    """Every combination of values once, in a random order, so that any budget is spread over it."""

    @property
    def generation(self) -> int | None:
        """All at once."""
        return None

    def optuna(self, space: Space, seed: int) -> BaseSampler:  # noqa: ARG002
        """Never asked."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)

    def every(self, space: Space, seed: int) -> list[dict[str, Value]] | None:
        """All combinations."""
        combinations = list(itertools.product(*(own.values or () for own in space.values())))
        order = np.random.default_rng(seed).permutation(len(combinations))
        return [dict(zip(space, combinations[int(place)], strict=True)) for place in order]


@final
@dataclass(frozen=True, kw_only=True)
class Tpe(Sampler):
    """Tree-structured Parzen estimator (Bergstra et al., 2011).

    `startup` trials are drawn at random; then `batch` at a time, those that run counted as bad.
    """

    startup: int
    batch: int

    def __post_init__(self) -> None:
        """Refuse numbers of trials that can't be, as a `ValueError`."""
        require(self, {"startup": NOT_NEGATIVE, "batch": AT_LEAST_ONE})

    @property
    def generation(self) -> int | None:
        """A batch."""
        return self.batch

    def optuna(self, space: Space, seed: int) -> BaseSampler:  # noqa: ARG002
        """Optuna's."""
        from optuna.samplers import TPESampler

        return TPESampler(n_startup_trials=self.startup, constant_liar=True, seed=seed)


@final
@dataclass(frozen=True, kw_only=True)
class CmaEs(Sampler):
    """Covariance matrix adaptation (Hansen, 2016) of numbers; choices are drawn at random."""

    population: int

    def __post_init__(self) -> None:
        """Refuse a population that nothing can be drawn from, as a `ValueError`."""
        require(self, {"population": _SEVERAL})

    @property
    def generation(self) -> int | None:
        """A population."""
        return self.population

    def optuna(self, space: Space, seed: int) -> BaseSampler:  # noqa: ARG002
        """Optuna's, by the package cmaes."""
        from optuna.samplers import CmaEsSampler, RandomSampler

        return CmaEsSampler(
            popsize=self.population,
            independent_sampler=RandomSampler(seed=seed),
            warn_independent_sampling=False,
            seed=seed,
        )


@final
@dataclass(frozen=True, kw_only=True)
class Nsga2(Sampler):
    """Non-dominated sorting genetic algorithm (Deb et al., 2002), for several objectives."""

    population: int

    def __post_init__(self) -> None:
        """Refuse a population that nothing can be drawn from, as a `ValueError`."""
        require(self, {"population": _SEVERAL})

    @property
    def generation(self) -> int | None:
        """A population."""
        return self.population

    def optuna(self, space: Space, seed: int) -> BaseSampler:  # noqa: ARG002
        """Optuna's."""
        from optuna.samplers import NSGAIISampler

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its notes on arguments that it calls experimental
            return NSGAIISampler(population_size=self.population, seed=seed)
