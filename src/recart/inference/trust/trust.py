"""`Trust`: what a run knows of the limits of its own model, and what it says of new patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from recart.data.bags import Bags
from recart.data.features import BoundFeatures, bind
from recart.data.store import CohortStore
from recart.inference.trust.cell_measures import measure_cells
from recart.inference.trust.conformal import LEVELS, ConformalSets, set_words
from recart.inference.trust.contrast import kinds_told
from recart.inference.trust.facts import of_the_data, proteins_lacking
from recart.inference.trust.fingerprints import Fingerprints
from recart.inference.trust.judge import CELL_SCORES, MEASURES
from recart.inference.trust.novelty import Novelty
from recart.inference.trust.refusal import RefusalPolicy
from recart.training.member_file import LoadedMember

__all__ = ["COLUMNS", "Trust", "Trusted"]

Array = np.ndarray[Any, np.dtype[Any]]

COLUMNS: Final = (
    *(f"set_{level * 100:.0f}" for level in LEVELS),
    "refused",
    "reasons",
    "ood_cells",
    "in_training",
    "claim_level",
)
"""Columns of the table of patients that are told of here, in order."""


@dataclass(frozen=True, kw_only=True)
class Trusted:
    """What is said of new bags and their cells.

    `table` (n) has `COLUMNS`; `facts` (n) what the reasons were decided by. `oddness` (c) is how
    odd each cell of the store is, see `Judge.oddness`; a cell beyond 1 is out of distribution.
    """

    table: pd.DataFrame
    facts: pd.DataFrame
    oddness: Array


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What is known of a run beyond its members. There is no cell and no id in it.

    Attributes
    ----------
    sets
        Prediction sets; None where no answer was known, as for an endpoint without yes and no.
    novelty
        How unlike the training patients somebody is.
    fingerprints
        By which training patients are recognised.
    policy
        When no prediction is given.
    kinds
        Time points and tissues of the training cohort, by column.
    most_car
        Largest share of CAR-positive cells of a training bag; None where that is not known.
    claim_level
        What the evaluation may claim, 0 to 4.
    classes
        What the two classes mean.
    c_index_low
        Lower end of the interval of the held-out C-index; None but for survival.
    """

    sets: ConformalSets | None
    novelty: Novelty
    fingerprints: Fingerprints
    policy: RefusalPolicy
    kinds: dict[str, list[str]]
    most_car: float | None
    claim_level: int
    classes: tuple[str, str]
    c_index_low: float | None = None

    def of(
        self,
        members: Sequence[LoadedMember],
        store: CohortStore,
        bags: Bags,
        log_odds: Mapping[str, Array],
        known: frozenset[str] = frozenset(),
    ) -> Trusted:
        """What is said of these bags.

        Parameters
        ----------
        members
            All members of the run.
        store, bags
            The new patients.
        log_odds
            (n) calibrated log-odds of the bags by member.
        known
            Patients of `store` that are known by their names to have been in training.
        """
        of_name = {member.name: member for member in members}
        judges = self.novelty.judges
        leader = of_name[judges[0].member]
        bound = bind(leader.features, store)
        facts = of_the_data(bound, store, bags, self.kinds, self.most_car)
        genes, proteins = (
            np.array([own[name] for own in facts]) for name in ("genes_missing", "proteins_missing")
        )
        every = [store.sample_slice(s) for s in range(len(store.samples))]
        cells = measure_cells(leader, bound, store, every)
        scores = judges[0].cell_scores(cells)
        rows = [bags.cells([n]) for n in range(len(bags))]
        oddness = judges[0].oddness(scores - self._shift_of_cells(bound, store))
        told = [kinds_told(store, own) for own in bags.slices]
        measured = [
            np.stack(
                [
                    judges[0].measures(cells.rows(own), scores[:, own], kinds)
                    for own, kinds in zip(rows, told, strict=True)
                ]
            )
        ]
        foreign = [_of_unknown_library(bound, store, rows)]
        for judge in judges[1:]:
            other = of_name[judge.member]
            met = bind(other.features, store)
            found = [measure_cells(other, met, store, own) for own in bags.slices]
            measured.append(
                np.stack(
                    [
                        judge.measures(own, judge.cell_scores(own), kinds)
                        for own, kinds in zip(found, told, strict=True)
                    ]
                )
            )
            foreign.append(_of_unknown_library(met, store, rows))
        unlike = np.mean(
            [
                self.novelty.unlike(own, (genes, proteins), unknown, self.policy.unlike)
                for own, unknown in zip(measured, foreign, strict=True)
            ],
            axis=0,
        )
        for n, own in enumerate(facts):
            name = str(store.patients.index[int(bags.table["patient"].iloc[n])])
            known_here = name in known or self.fingerprints.recognised(bound, store, rows[n])
            own["in_training"] = float(known_here)
            # of survival nothing is claimed: its interval says whether there is a signal
            survival = self.c_index_low is not None
            own["claim_level"] = np.nan if survival else float(self.claim_level)
            own["c_index_low"] = np.nan if self.c_index_low is None else self.c_index_low
            own["training_patients"] = float(self.training_patients)
            own |= {f"unlike_{name}": float(v) for name, v in zip(MEASURES, unlike[n], strict=True)}
        table = self._table(facts, [oddness[own] for own in rows], bags, log_odds)
        return Trusted(
            table=table, facts=pd.DataFrame(facts, index=bags.table.index), oddness=oddness
        )

    @property
    def training_patients(self) -> int:
        """Labelled patients that were held out in turn."""
        return 0 if self.sets is None else self.sets.patients(0) + self.sets.patients(1)

    def notes(self) -> list[str]:
        """What has to be said of the sets of all patients, in words."""
        if self.sets is None:
            return ["there are no prediction sets: no training patient has a known yes or no"]
        lines = []
        yes, no = words = set_words(self.classes)
        for level in LEVELS:
            if few := self.sets.too_few(level, words):
                counts = f"{self.sets.patients(1)} {yes} and {self.sets.patients(0)} {no}"
                lines.append(
                    f"no set at {level:.0%} can leave out {' or '.join(few)}: {counts} patients in "
                    f"training, {round(1 / (1 - level)) - 1} of a class are needed"
                )
        return lines

    def plain(self) -> dict[str, Any]:
        """Plain Python and tensors."""
        return {
            "sets": None if self.sets is None else self.sets.plain(),
            "novelty": self.novelty.plain(),
            "fingerprints": self.fingerprints.plain(),
            "policy": self.policy.plain(),
            "kinds": self.kinds,
            "most_car": self.most_car,
            "claim_level": self.claim_level,
            "classes": list(self.classes),
            "c_index_low": self.c_index_low,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Trust:
        """What `plain` was made of."""
        sets = plain["sets"]
        return cls(
            sets=None if sets is None else ConformalSets.from_plain(sets),
            novelty=Novelty.from_plain(plain["novelty"]),
            fingerprints=Fingerprints.from_plain(plain["fingerprints"]),
            policy=RefusalPolicy.from_plain(plain["policy"]),
            kinds=plain["kinds"],
            most_car=plain["most_car"],
            claim_level=plain["claim_level"],
            classes=(plain["classes"][0], plain["classes"][1]),
            c_index_low=plain.get("c_index_low"),
        )

    def _shift_of_cells(self, bound: BoundFeatures, store: CohortStore) -> Array:
        """(3, c) by how much the scores of each cell are shifted by what its sample lacks."""
        lacking = proteins_lacking(bound, store)
        genes = np.full(len(lacking), np.mean(bound.genes < 0))
        shift, _ = self.novelty.lacking.at(genes, lacking)
        of_cells: Array = shift[store.cells["sample"].to_numpy(), : len(CELL_SCORES)].T
        return of_cells

    def _table(
        self,
        facts: list[dict[str, float]],
        oddness: Sequence[Array],
        bags: Bags,
        log_odds: Mapping[str, Array],
    ) -> pd.DataFrame:
        reasons = [self.policy.reasons(own) for own in facts]
        sets = {f"set_{level * 100:.0f}": [""] * len(bags) for level in LEVELS}
        if self.sets is not None:
            logits_mn = np.stack([log_odds[name] for name in self.sets.members])
            for level in LEVELS:
                told = self.sets.sets(logits_mn, level, set_words(self.classes))
                sets[f"set_{level * 100:.0f}"] = [
                    "" if why else own for own, why in zip(told, reasons, strict=True)
                ]
        table = pd.DataFrame(
            {
                **sets,
                "refused": [bool(why) for why in reasons],
                "reasons": [";".join(why) for why in reasons],
                "ood_cells": [float(np.mean(own > 1)) if len(own) else np.nan for own in oddness],
                "in_training": [own["in_training"] > 0 for own in facts],
                "claim_level": f"L{self.claim_level}",
            },
            index=bags.table.index,
        )
        return table[list(COLUMNS)]


def _of_unknown_library(bound: BoundFeatures, store: CohortStore, rows: Sequence[Array]) -> Array:
    """(n) whether the member has seen no cell of a library of each bag's cells (rows)."""
    unknown = bound.batch_of_sample < 0
    sample = store.cells["sample"].to_numpy()
    return np.array([bool(unknown[sample[own]].any()) for own in rows])
