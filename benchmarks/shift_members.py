"""A simulated cohort for the benchmark of shifts: members of five folds, and the trust in them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recart.config.build import build
from recart.config.compose import compose
from recart.contracts import Member
from recart.data.bags import Admission, Bags, make_bags
from recart.data.features import bind
from recart.data.store import CohortStore
from recart.inference.trust.facts import car_positive, kinds_of_sample
from recart.inference.trust.fingerprints import Fingerprints
from recart.inference.trust.novelty import Novelty
from recart.inference.trust.refusal import RefusalPolicy
from recart.inference.trust.trust import Trust
from recart.training.cohort_setup import prepare_cohort
from recart.training.decision_rule import DecisionRule
from recart.training.jobs import restore_stack, train_encoders
from recart.training.launch import recipes
from recart.training.member_file import LoadedMember
from recart.training.trainer import quiet_lightning

_FOLDS = 5


@dataclass(frozen=True)
class Settings:
    """Size of the cohort and of the training."""

    patients: int = 40
    cells: int = 200
    epochs: int = 15
    seed: int = 1


def asked(description: str | None) -> list[Settings]:
    """What the command line asks for, one for each seed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    own = parser.parse_args()
    return [Settings(own.patients, own.cells, own.epochs, seed) for seed in own.seeds]


def prepared(
    given: Settings, patients: int, seed: int, folder: Path, libraries: int = 4
) -> CohortStore:
    """A simulated cohort, of so many libraries."""
    settings = [f"data.reader.patients={patients}", f"data.reader.seed={seed}"]
    settings += [f"data.reader.cells_per_sample={given.cells}", "data/receptors=none"]
    settings += [f"data.reader.design.batches={libraries}"]
    config = compose(["data=simulated", *settings, "data.limits.min_cells=5"])
    return prepare_cohort(config.data, folder, lambda _: None).store


def bags_of(store: CohortStore, admission: Admission) -> Bags:
    """One bag a patient; nobody has a label."""
    labels = pd.Series(np.nan, index=store.patients.index)
    return make_bags(store, labels, unit="patient", admission=admission)


BEFORE = Admission(decision_day=1.0)


def trained(given: Settings, store: CohortStore, folder: Path) -> list[LoadedMember]:
    """Members of five folds of the first patients of `store`; without heads."""
    config = compose(["data=simulated", "data/receptors=none", f"training.epochs={given.epochs}"])
    order = np.random.default_rng(given.seed).permutation(given.patients)
    members = []
    for fold in range(_FOLDS):
        held_out = order[fold::_FOLDS]
        rest = np.setdiff1d(order, held_out)
        watch = max(2, len(rest) // 6)
        members.append(
            Member(
                name=f"f{fold}",
                fold=fold,
                repeat=0,
                seed=given.seed + fold,
                train=tuple(map(int, rest[watch:])),
                validation=tuple(map(int, rest[:watch])),
                held_out=tuple(map(int, held_out)),
            )
        )
    trainer, made = build(config.trainer), recipes(config)
    loaded = []
    with quiet_lightning():
        for member in members:
            (own,) = train_encoders(
                [member],
                store,
                bags_of(store, BEFORE),
                made,
                lambda n: trainer.make(n, [], [], folder),
            )
            names = store.patients.index
            loaded.append(
                LoadedMember(
                    name=member.name,
                    fold=member.fold,
                    repeat=0,
                    seed=member.seed,
                    held_out=frozenset(names[list(member.held_out)]),
                    fitted_on={"encoder": frozenset(names[list(member.train)])},
                    settings=member.settings,
                    features=own.features,
                    stack=restore_stack(made.model, own.features, own.state),
                    head=None,  # type: ignore[arg-type]  # novelty asks for none
                    rule=DecisionRule(),
                    history=[],
                    best_epoch=own.best_epoch,
                    best_loss=own.best_loss,
                )
            )
    return loaded


def fitted_trust(given: Settings, members: list[LoadedMember], store: CohortStore) -> Trust:
    """What `evaluate.py` would fit, without scores of a head."""
    policy: RefusalPolicy = build(compose(["run=none"], "evaluate").refusal)
    bags = bags_of(store, BEFORE)
    car = car_positive(store, bags)
    return Trust(
        sets=None,
        novelty=Novelty.fit(members, store, bags, given.seed, 500),
        fingerprints=Fingerprints.fit(
            "benchmark", bind(members[0].features, store), store, range(given.patients)
        ),
        policy=policy,
        kinds=kinds_of_sample(store, bags),
        most_car=None if car is None else float(car[: given.patients].max()),
        claim_level=4,
        classes=("R", "NR"),
    )
