"""What measures of bags that a member did not see usually are, and how far the oddest go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from recart.inference.trust.judge import MEASURES

__all__ = ["Usual"]

Array = np.ndarray[Any, np.dtype[Any]]

_TWO_SIDED: Final = np.array([name in ("rna_depth", "protein_depth") for name in MEASURES])
_KIND: Final = np.array([name == "kind" for name in MEASURES])
# Of log depths. Libraries of one cohort differ less than those of two, and a new patient's is
# another one: a factor of two is a standard deviation and a half, whatever the cohort's spread.
_LEAST_SCALE: Final = np.where(_TWO_SIDED, 0.45, 1e-3)
_MAD: Final = 1.4826
_TAIL: Final = 0.1
# Mean of the largest tenth of a normal distribution, in standard deviations; of its absolute values
_TAIL_MEAN: Final = np.where(_TWO_SIDED, 2.063, 1.755)


@dataclass(frozen=True, kw_only=True)
class Usual:
    """`location` and `scale` (f) standardise `MEASURES`.

    `unseen` (n, 2) are of each unseen bag how far it is away by `kind`, and by the measure that it
    is farthest away in among all others; each in order of size.
    """

    location: Array
    scale: Array
    unseen: Array

    @classmethod
    def of_patients(cls, measured: Array) -> Usual:
        """From measures (n, f) of bags each of which its judge did not see."""
        return _fitted(measured, np.zeros(len(measured), dtype=int))._with(measured)

    @classmethod
    def of_libraries(cls, measured: Array, library: Array) -> Usual:
        """The same of patients of unknown libraries, given the library (n) of each.

        Libraries have a spread of their own. Limits come from leave-library-out distances: each
        bag is compared with those of all other libraries.
        """
        found, names = _fitted(measured, library), np.unique(library)
        if len(names) < 2:
            return found._with(measured)
        odd = []
        for name in names:
            own = library == name
            rest = _fitted(measured[~own], library[~own])
            odd.append(rest._oddest(measured[own]))
        return replace(found, unseen=np.sort(np.concatenate(odd), axis=0))

    def away(self, measured: Array, shift: Array, variance: Array) -> Array:
        """(n, f) standard deviations away from usual, in the direction of unlike; 0 if not known.

        `shift` and `variance` are what is known to be added to the measures. A depth may be unlike
        either way.
        """
        off = (measured - self.location - shift) / np.sqrt(np.square(self.scale) + variance)
        known: Array = np.nan_to_num(np.where(_TWO_SIDED, np.abs(off), off), nan=0.0)
        return known

    def limits(self, share: float) -> Array:
        """(f) what at most `share` of patients like the training patients exceed in any measure.

        Half of the share is for `kind`, of which alone it is known what the others are like, and
        which would be lost among the tails of six more. Split-conformal ranks among the unseen
        bags; where there are too few it is the largest, which one in n + 1 exceeds.
        """
        n = len(self.unseen)
        rank = min(n, int(np.ceil((n + 1) * (1 - share / 2) - 1e-9)))
        of_kind, of_others = self.unseen[rank - 1]
        limits: Array = np.maximum(np.where(_KIND, of_kind, of_others), 1e-3)
        return limits

    def plain(self) -> dict[str, Any]:
        """Tensors."""
        return {name: torch.from_numpy(getattr(self, name)) for name in self.__annotations__}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Usual:
        """What `plain` was made of."""
        return cls(**{name: own.numpy() for name, own in plain.items()})

    def _with(self, measured: Array) -> Usual:
        return replace(self, unseen=np.sort(self._oddest(measured), axis=0))

    def _oddest(self, measured: Array) -> Array:
        away = self.away(measured, np.zeros(1), np.zeros(1))
        return np.stack([away[:, _KIND].max(axis=1), away[:, ~_KIND].max(axis=1)], axis=1)


def _fitted(measured: Array, library: Array) -> Usual:
    """Median; spread by median deviations within libraries, and of a further library's median.

    The scale of a measure whose largest tenth goes further than a normal distribution's is that of
    its tail: one limit for all measures then means the same for each.
    """
    names = np.unique(library)
    within = np.concatenate(
        [measured[library == name] - _median(measured[library == name]) for name in names]
    )
    variance = np.square(_MAD * np.nan_to_num(_median(np.abs(within)), nan=1.0))
    if len(names) > 1:
        medians = np.stack([_median(measured[library == name]) for name in names])
        off = np.nan_to_num(medians - _median(medians))
        variance += np.square(off).sum(axis=0) / (len(names) - 1) * (1 + 1 / len(names))
    scale = np.maximum(np.sqrt(variance), _LEAST_SCALE)
    found = Usual(location=_median(measured), scale=scale, unseen=np.zeros((0, 2)))
    away = np.sort(found.away(measured, np.zeros(1), np.zeros(1)), axis=0)
    tail = away[-max(1, round(_TAIL * len(away))) :].mean(axis=0) / _TAIL_MEAN
    return replace(found, scale=scale * np.maximum(tail, 1.0))


def _median(values: Array) -> Array:
    """(f) median of what is known; NaN where nothing is."""
    found: Array = np.array(
        [
            np.median(known) if len(known := own[np.isfinite(own)]) else np.nan
            for own in np.asarray(values).T
        ]
    )
    return found
