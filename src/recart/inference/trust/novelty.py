"""How unlike the training patients a new patient is, measured by what unseen patients usually are.

Thresholds come from leave-patient-out distances: each training patient is measured under a member
that did not see it, as a new one will be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from recart.data.bags import Bags
from recart.data.features import bind
from recart.data.store import CohortStore
from recart.inference.trust.cell_measures import measure_cells
from recart.inference.trust.judge import MEASURES, Judge
from recart.training.encoding import encode
from recart.training.member_file import LoadedMember

__all__ = ["Novelty", "judging_members"]

Array = np.ndarray[Any, np.dtype[Any]]

_TWO_SIDED: Final = ("rna_depth", "protein_depth")
# Of log depths. Libraries of one cohort differ less than those of two, and a new patient's is
# another one: a factor of two is a standard deviation and a half, whatever the cohort's spread.
_LEAST_DEPTH_SCALE: Final = 0.45
_LEAST_SCALE: Final = 1e-3
_MAD: Final = 1.4826
_LANDMARKS: Final = 32


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """Attributes: `judges`, and the `MEASURES` of unseen bags.

    `location` and `scale` (f) standardise measures; `unseen` (n) is the largest standardised
    measure of each training bag under its judge, in order of size.
    """

    judges: tuple[Judge, ...]
    location: Array
    scale: Array
    unseen: Array

    @classmethod
    def fit(
        cls,
        members: Sequence[LoadedMember],
        store: CohortStore,
        bags: Bags,
        seed: int,
        most_cells: int,
    ) -> Novelty:
        """From the members of a cross-validation and its cohort.

        At most `most_cells` cells a bag are looked at: the first of each sample, which the store
        has in random order.
        """
        code = {name: number for number, name in enumerate(store.patients.index)}
        judges, values = [], []
        judged: set[str] = set()
        for member in judging_members(members):
            bound = bind(member.features, store)
            seen = bags.of_patients([code[name] for name in member.fitted_on["encoder"]])
            own = member.held_out - judged
            judged |= own
            unseen = [
                measure_cells(member, store, _some(bags.slices[n], most_cells))
                for n in bags.of_patients([code[name] for name in own])
            ]
            judge = Judge.fit(
                member.name,
                [
                    encode(member.stack, bound, store, _some(bags.slices[n], most_cells))
                    for n in seen
                ],
                _LANDMARKS,
                seed,
            ).calibrated(unseen)
            judges.append(judge)
            values += [judge.measures(cells, judge.cell_scores(cells)) for cells in unseen]
        measured = np.array(values)
        location, scale = _location_and_scale(measured)
        found = cls(judges=tuple(judges), location=location, scale=scale, unseen=np.zeros(0))
        largest = np.max(found.standardised(measured), axis=1, initial=0.0)
        return cls(judges=tuple(judges), location=location, scale=scale, unseen=np.sort(largest))

    def standardised(self, measures: Array) -> Array:
        """(n, f) standard deviations away from usual, in the direction of unlike; 0 if not known.

        A depth may be unlike either way.
        """
        away = (measures - self.location) / self.scale
        two_sided = np.array([name in _TWO_SIDED for name in MEASURES])
        return np.nan_to_num(np.where(two_sided, np.abs(away), away), nan=0.0)

    def limit(self, share: float) -> float:
        """What at most `share` of patients like the training patients exceed in any measure.

        Split-conformal rank among the unseen bags; with fewer than `1 / share` of them it is the
        largest, which one in n + 1 exceeds.
        """
        n = len(self.unseen)
        rank = min(n, int(np.ceil((n + 1) * (1 - share) - 1e-9)))
        return float(self.unseen[rank - 1])

    def plain(self) -> dict[str, Any]:
        """Plain Python and tensors; bags in order of size, so no row is anybody's."""
        return {
            "judges": [judge.plain() for judge in self.judges],
            **{name: torch.from_numpy(getattr(self, name)) for name in _ARRAYS},
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Novelty:
        """What `plain` was made of."""
        return cls(
            judges=tuple(Judge.from_plain(judge) for judge in plain["judges"]),
            **{name: plain[name].numpy() for name in _ARRAYS},
        )


_ARRAYS: Final = ("location", "scale", "unseen")


def judging_members(members: Sequence[LoadedMember]) -> list[LoadedMember]:
    """The first members that together have held out every patient that any has; the first leads."""
    chosen: list[LoadedMember] = []
    left = set().union(*(own.held_out for own in members))
    for member in members:
        if left & member.held_out:
            chosen.append(member)
            left -= member.held_out
    return chosen


def _location_and_scale(measured: Array) -> tuple[Array, Array]:
    """(f) median and standard deviation by the median deviation, of those that are known."""
    location, scale = np.zeros((2, measured.shape[1]))
    for f, column in enumerate(measured.T):
        known = column[np.isfinite(column)]
        location[f] = np.median(known) if len(known) else np.nan
        spread = _MAD * np.median(np.abs(known - location[f])) if len(known) else 1.0
        least = _LEAST_DEPTH_SCALE if MEASURES[f] in _TWO_SIDED else _LEAST_SCALE
        scale[f] = max(float(spread), least)
    return location, scale


def _some(slices: Sequence[slice], most: int) -> list[slice]:
    """The first cells of each slice, by its share of `most` in all."""
    total = sum(own.stop - own.start for own in slices)
    share = min(1.0, most / total)
    return [
        slice(own.start, own.start + max(1, round(share * (own.stop - own.start))))
        for own in slices
    ]
