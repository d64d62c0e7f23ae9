"""How unlike the training patients a new patient is, measured by what unseen patients usually are.

Thresholds come from leave-patient-out distances: each training patient is measured under a member
that did not see it, as a new one will be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from recart.data.bags import Bags
from recart.data.features import bind
from recart.data.store import CohortStore
from recart.inference.trust.cell_measures import measure_cells
from recart.inference.trust.judge import MEASURES, Judge
from recart.inference.trust.lacking import CONDITIONS, Lacking, hidden
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
_CELLS_OF_CURVE: Final = 100  # of each bag that the member was trained on


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """Attributes: `judges`, and the `MEASURES` of unseen bags.

    `location` and `scale` (f) standardise measures; `unseen` (n) is the largest standardised
    measure of each training bag under its judge, in order of size. `lacking` is what missing genes
    and proteins do to the measures.
    """

    judges: tuple[Judge, ...]
    location: Array
    scale: Array
    unseen: Array
    lacking: Lacking

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
        judges: list[Judge] = []
        values: list[list[Array]] = [[] for _ in (None, *CONDITIONS)]
        judged: set[str] = set()
        for member in judging_members(members):
            bound = bind(member.features, store)
            seen = bags.of_patients([code[name] for name in member.fitted_on["encoder"]])
            rows = bags.of_patients([code[name] for name in member.held_out - judged])
            judged |= member.held_out
            slices = {int(n): _some(bags.slices[n], most_cells) for n in (*seen, *rows)}
            unseen = [measure_cells(member, bound, store, slices[int(n)]) for n in rows]
            latents = [encode(member.stack, bound, store, slices[int(n)]) for n in seen]
            costs = [
                measure_cells(member, bound, store, _some(slices[int(n)], _CELLS_OF_CURVE))
                for n in seen
            ]
            judge = Judge.fit(member.name, latents, costs, _LANDMARKS, seed).calibrated(unseen)
            judges.append(judge)
            values[0] += [judge.measures(own, judge.cell_scores(own)) for own in unseen]
            for number, condition in enumerate(CONDITIONS, start=1):
                for n in map(int, rows):
                    lacks = hidden(bound, condition, np.random.default_rng((seed, number, n)))
                    own = measure_cells(member, lacks, store, slices[n])
                    values[number].append(judge.measures(own, judge.cell_scores(own)))
        (location, scale), *under = (_location_and_scale(np.array(own)) for own in values)
        found = cls(
            judges=tuple(judges),
            location=location,
            scale=scale,
            unseen=np.zeros(0),
            lacking=Lacking.fit(location, scale, under),
        )
        nothing = np.zeros(len(values[0]))
        largest = np.max(
            found.standardised(np.array(values[0]), nothing, nothing), axis=1, initial=0.0
        )
        return replace(found, unseen=np.sort(largest))

    def standardised(self, measures: Array, genes: Array, proteins: Array) -> Array:
        """(n, f) standard deviations away from usual, in the direction of unlike; 0 if not known.

        `genes` and `proteins` (n) are the shares of them that a bag lacks. A depth may be unlike
        either way.
        """
        shift, variance = self.lacking.at(genes, proteins)
        away = (measures - self.location - shift) / np.sqrt(np.square(self.scale) + variance)
        two_sided = np.array([name in _TWO_SIDED for name in MEASURES])
        known: Array = np.nan_to_num(np.where(two_sided, np.abs(away), away), nan=0.0)
        return known

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
            "lacking": self.lacking.plain(),
            **{name: torch.from_numpy(getattr(self, name)) for name in _ARRAYS},
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Novelty:
        """What `plain` was made of."""
        return cls(
            judges=tuple(Judge.from_plain(judge) for judge in plain["judges"]),
            lacking=Lacking.from_plain(plain["lacking"]),
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
