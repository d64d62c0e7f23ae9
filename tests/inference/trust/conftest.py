"""Members of a small cohort with random weights, and what is known of their limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recart.config.build import build
from recart.config.compose import compose
from recart.contracts import MemberSettings
from recart.data.bags import Bags
from recart.data.features import bind
from recart.data.part_of_store import without_patients
from recart.data.store import CohortStore
from recart.inference.outputs.member_outputs import MemberOutputs
from recart.inference.trust.conformal import ConformalSets
from recart.inference.trust.facts import car_positive, kinds_of_sample
from recart.inference.trust.fingerprints import Fingerprints
from recart.inference.trust.novelty import Novelty
from recart.inference.trust.trust import Trust
from recart.training.decision_rule import DecisionRule
from recart.training.member_file import LoadedMember

FOLDS = 3


@dataclass(frozen=True)
class Small:
    """Members without heads, the cohort that they know, and the trust that was fitted to it."""

    members: list[LoadedMember]
    store: CohortStore
    bags: Bags
    trust: Trust

    def log_odds(self, bags: Bags) -> dict[str, np.ndarray]:
        """Some log-odds of each bag by each member: the same for a bag in any company."""
        number = np.array([sum(map(ord, str(name))) for name in bags.table.index])
        return {own.name: np.sin(number + i) for i, own in enumerate(self.members)}


def _member(outputs: MemberOutputs, fold: int, store: CohortStore) -> LoadedMember:
    names = list(store.patients.index)
    held_out = frozenset(names[fold::FOLDS])
    head: Any = None  # nothing here asks for one
    return LoadedMember(
        name=f"f{fold}",
        fold=fold,
        repeat=0,
        seed=fold,
        held_out=held_out,
        fitted_on={"encoder": frozenset(names) - held_out},
        settings=MemberSettings(),
        features=outputs.bound.features,
        stack=outputs.stack,
        head=head,
        rule=DecisionRule(),
        history=[],
        best_epoch=0,
        best_loss=0.0,
    )


@pytest.fixture(scope="module")
def whole(make_store: Callable[..., CohortStore]) -> CohortStore:
    """Seventeen patients of the same populations of cells."""
    return make_store(patients=17, cells=60)


@pytest.fixture(scope="module")
def small(
    whole: CohortStore,
    make_all_bags: Callable[[CohortStore], Bags],
    make_outputs: Callable[..., MemberOutputs],
) -> Small:
    """Three folds of the first twelve patients of `whole`, two samples each."""
    store = without_patients(whole, range(12, 17))
    bags = make_all_bags(store)
    members = [_member(make_outputs(store, seed=k), k, store) for k in range(FOLDS)]
    novelty = Novelty.fit(members, store, bags, seed=0, most_cells=1000)
    predictions = pd.DataFrame(
        {
            "bag": bags.table.index,
            "patient": bags.table.index,
            "member": [f"f{n % FOLDS}" for n in range(len(bags))],
            "y": bags.table["label"].to_numpy(),
            "logit": bags.table["label"].to_numpy() + np.linspace(-1, 1, len(bags)),
        }
    )
    car = car_positive(store, bags)
    trust = Trust(
        sets=ConformalSets.fit(predictions),
        novelty=novelty,
        fingerprints=Fingerprints.fit("key", bind(members[0].features, store), store, range(12)),
        policy=build(compose(["run=none"], "evaluate").refusal),
        kinds=kinds_of_sample(store, bags),
        most_car=None if car is None else float(car.max()),
        claim_level=3,
        classes=("R", "NR"),
    )
    return Small(members, store, bags, trust)
