"""How unlike the training patients a new patient is, measured by what unseen patients usually are.

Thresholds come from leave-patient-out distances: each training patient is measured under a member
that did not see it, as a new one will be. For patients of libraries that a member does not know,
they are leave-library-out distances too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from recart.data.bags import Bags
from recart.data.features import BoundFeatures, bind
from recart.data.stages import sample_words
from recart.data.store import CohortStore
from recart.inference.trust.cell_measures import measure_cells
from recart.inference.trust.contrast import kinds_told
from recart.inference.trust.judge import Judge
from recart.inference.trust.lacking import CONDITIONS, Lacking, hidden
from recart.inference.trust.usual import Usual
from recart.training.encoding import encode
from recart.training.member_file import LoadedMember

__all__ = ["Novelty", "judging_members"]

Array = np.ndarray[Any, np.dtype[Any]]

_LANDMARKS: Final = 32
_CELLS_OF_CURVE: Final = 100  # of each bag that the member was trained on


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """Attributes: `judges`, and what is known of bags that they did not see.

    `usual` are the `MEASURES` of patients of libraries that a judge knows, `foreign` of patients of
    others. `lacking` is what missing genes and proteins do to the measures.
    """

    judges: tuple[Judge, ...]
    usual: Usual
    foreign: Usual
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
        library, sample = sample_words(store.samples, "batch"), store.cells["sample"].to_numpy()
        chosen = judging_members(members)
        everybody = frozenset().union(*(own.held_out for own in chosen))
        judges: list[Judge] = []
        values: list[list[Array]] = [[] for _ in (None, *CONDITIONS)]
        foreign: list[Array] = []
        libraries: list[str] = []
        judged: frozenset[str] = frozenset()
        for member in chosen:
            bound = bind(member.features, store)
            rows = [int(n) for n in bags.of_patients([code[k] for k in member.held_out - judged])]
            judged |= member.held_out
            slices = {n: _some(bags.slices[n], most_cells) for n in rows}
            unseen = {n: measure_cells(member, bound, store, slices[n]) for n in rows}
            seen = bags.of_patients([code[name] for name in member.fitted_on["encoder"]])
            judge = _judge(member, store, [_some(bags.slices[n], most_cells) for n in seen], seed)
            others = [code[name] for name in everybody - member.held_out]
            judge = _contrasted(judge, member, store, bags, others, most_cells)
            judge = judge.calibrated(list(unseen.values()))
            judges.append(judge)
            nameless = replace(bound, batch_of_sample=np.full_like(bound.batch_of_sample, -1))
            for n, cells in unseen.items():
                told = kinds_told(store, slices[n])
                values[0].append(judge.measures(cells, judge.cell_scores(cells), told))
                foreign.append(_measured(judge, member, nameless, store, slices[n]))
                libraries.append(str(library[sample[slices[n][0].start]]))
                for number, condition in enumerate(CONDITIONS, start=1):
                    lacks = hidden(bound, condition, np.random.default_rng((seed, number, n)))
                    values[number].append(_measured(judge, member, lacks, store, slices[n]))
        usual = Usual.of_patients(np.array(values[0]))
        return cls(
            judges=tuple(judges),
            usual=usual,
            foreign=Usual.of_libraries(np.array(foreign), np.array(libraries)),
            lacking=Lacking.fit(usual, [Usual.of_patients(np.array(own)) for own in values[1:]]),
        )

    def unlike(
        self, measured: Array, lacking: tuple[Array, Array], foreign: Array, share: float
    ) -> Array:
        """(n, f) how unlike bags are: beyond 1 in any measure is what `share` of patients are.

        Parameters
        ----------
        measured
            (n, f) `MEASURES` under one judge.
        lacking
            (n) shares of the genes and of the proteins that each bag lacks.
        foreign
            (n) whether the judge does not know a bag's library.
        share
            Of patients like the training patients.
        """
        shift, variance = self.lacking.at(*lacking)
        usual, others = (
            own.away(measured, shift, variance) / own.limits(share)
            for own in (self.usual, self.foreign)
        )
        return np.where(foreign[:, None], others, usual)

    def plain(self) -> dict[str, Any]:
        """Plain Python and tensors; bags in order of size, so no row is anybody's."""
        return {
            "judges": [judge.plain() for judge in self.judges],
            "usual": self.usual.plain(),
            "foreign": self.foreign.plain(),
            "lacking": self.lacking.plain(),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Novelty:
        """What `plain` was made of."""
        return cls(
            judges=tuple(Judge.from_plain(judge) for judge in plain["judges"]),
            usual=Usual.from_plain(plain["usual"]),
            foreign=Usual.from_plain(plain["foreign"]),
            lacking=Lacking.from_plain(plain["lacking"]),
        )


def judging_members(members: Sequence[LoadedMember]) -> list[LoadedMember]:
    """The first members that together have held out every patient that any has; the first leads."""
    chosen: list[LoadedMember] = []
    left = set().union(*(own.held_out for own in members))
    for member in members:
        if left & member.held_out:
            chosen.append(member)
            left -= member.held_out
    return chosen


def _judge(
    member: LoadedMember, store: CohortStore, seen: Sequence[Sequence[slice]], seed: int
) -> Judge:
    """From the bags that the member was trained on."""
    bound = bind(member.features, store)
    latents = [encode(member.stack, bound, store, own) for own in seen]
    costs = [measure_cells(member, bound, store, _some(own, _CELLS_OF_CURVE)) for own in seen]
    return Judge.fit(member.name, latents, costs, _LANDMARKS, seed)


def _contrasted(
    judge: Judge,
    member: LoadedMember,
    store: CohortStore,
    bags: Bags,
    patients: Sequence[int],
    most_cells: int,
) -> Judge:
    """The judge, who has been shown all samples of these patients, and which kinds bags are of."""
    bound = bind(member.features, store)
    of_patients = np.isin(store.samples["patient"].to_numpy(), patients)
    samples = [_some([store.sample_slice(int(s))], most_cells) for s in np.flatnonzero(of_patients)]
    samples = [own for own in samples if own[0].stop > own[0].start]
    told = [of for own in samples for of in kinds_told(store, own)]
    bags_told = [kinds_told(store, bags.slices[n]) for n in bags.of_patients(patients)]
    latents = [encode(member.stack, bound, store, own) for own in samples]
    return judge.contrasted(latents, told, {of.kind for own in bags_told for of in own})


def _measured(
    judge: Judge,
    member: LoadedMember,
    bound: BoundFeatures,
    store: CohortStore,
    slices: Sequence[slice],
) -> Array:
    """(f) `MEASURES` of one bag under a member and its judge."""
    cells = measure_cells(member, bound, store, slices)
    return judge.measures(cells, judge.cell_scores(cells), kinds_told(store, slices))


def _some(slices: Sequence[slice], most: int) -> list[slice]:
    """The first cells of each slice, by its share of `most` in all."""
    total = sum(own.stop - own.start for own in slices)
    share = min(1.0, most / max(total, 1))
    return [
        slice(own.start, own.start + max(1, round(share * (own.stop - own.start))))
        for own in slices
        if own.stop > own.start
    ]
