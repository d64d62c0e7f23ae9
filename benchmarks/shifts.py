"""Claim: eight gross shifts are told from honest patients (AUROC .95), of whom 5 % are refused.

A simulated cohort; members of five folds are trained on `--patients` of its patients, and as many
again are seen by none. These are the honest ones, as they are and shifted. Beside them: honest
patients of another simulated cohort, whose libraries no member knows. The score of a patient is the
largest of its facts over their thresholds, rules on the model itself left out.

    python benchmarks/shifts.py --patients 40 --seeds 1 2 3
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cached_cohorts import auroc
from scipy import sparse

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

Array = np.ndarray[Any, np.dtype[Any]]
Shift = Callable[[CohortStore, np.random.Generator], CohortStore]

_FOLDS = 5
_OF_THE_MODEL = ("claim_level", "training_patients", "in_training")
HONEST, ELSEWHERE = "honest, known libraries", "honest, other libraries"


@dataclass(frozen=True)
class Settings:
    """Size of the cohort and of the training."""

    patients: int = 40
    cells: int = 200
    epochs: int = 15
    seed: int = 1


def _prepared(given: Settings, patients: int, seed: int, folder: Path) -> CohortStore:
    settings = [f"data.reader.patients={patients}", f"data.reader.seed={seed}"]
    settings += [f"data.reader.cells_per_sample={given.cells}", "data/receptors=none"]
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


def log_normalised(store: CohortStore, _: np.random.Generator) -> CohortStore:
    """log1p of counts per 10,000, given as counts."""
    rna = store.rna[:].astype(np.float32).tocsr()
    total = np.maximum(np.asarray(rna.sum(axis=1)).ravel(), 1)
    rna.data = np.log1p(rna.data / np.repeat(total, np.diff(rna.indptr)) * 1e4)
    return replace(store, rna=rna)


def shuffled_genes(store: CohortStore, rng: np.random.Generator) -> CohortStore:
    """Names of genes in another order than their counts."""
    return replace(
        store, genes=tuple(np.array(store.genes, dtype=object)[rng.permutation(len(store.genes))])
    )


def mouse_symbols(store: CohortStore, _: np.random.Generator) -> CohortStore:
    """Genes as mice have them: Cd3e for CD3E."""
    return replace(store, genes=tuple(name.capitalize() for name in store.genes))


def shallower(store: CohortStore, rng: np.random.Generator) -> CohortStore:
    """One in five RNA counts."""
    rna = store.rna[:].tocsr()
    data = rng.binomial(rna.data.astype(np.int64), 0.2).astype(rna.data.dtype)
    thin = sparse.csr_matrix((data, rna.indices, rna.indptr), shape=rna.shape)
    thin.eliminate_zeros()
    return replace(store, rna=thin)


def protein_zeros(store: CohortStore, _: np.random.Generator) -> CohortStore:
    """Proteins that were not measured, given as zeros that were."""
    return replace(store, protein=np.zeros_like(store.protein))


def swapped_proteins(store: CohortStore, rng: np.random.Generator) -> CohortStore:
    """Each sample has the antibody library of the next."""
    protein = np.array(store.protein)
    slices = [store.sample_slice(s) for s in range(len(store.samples))]
    for own, other in zip(slices, [*slices[1:], slices[0]], strict=True):
        rows = rng.choice(np.arange(other.start, other.stop), own.stop - own.start)
        protein[own] = store.protein[rows]
    return replace(store, protein=protein)


def said_to_be_before(store: CohortStore, _: np.random.Generator) -> CohortStore:
    """Samples of blood before infusion, if one believes the table."""
    return replace(store, samples=store.samples.assign(timepoint="pre", tissue="PB"))


def fewer_genes(share: float) -> Shift:
    """A random part of the genes is not in the file."""

    def hide(store: CohortStore, rng: np.random.Generator) -> CohortStore:
        names = np.array(store.genes, dtype=object)
        names[rng.choice(len(names), round(share * len(names)), replace=False)] = "absent"
        return replace(store, genes=tuple(names))

    return hide


def fewer_proteins(share: float) -> Shift:
    """A random part of the panel was not stained."""

    def hide(store: CohortStore, rng: np.random.Generator) -> CohortStore:
        measured, panel = np.array(store.protein_measured), len(store.proteins)
        measured[:, rng.choice(panel, round(share * panel), replace=False)] = False
        return replace(store, protein_measured=measured)

    return hide


def as_it_is(store: CohortStore, _: np.random.Generator) -> CohortStore:
    """Nothing is changed."""
    return store


_BLOOD = Admission(timepoints=["post"], tissues=["PB"])
_MARROW = Admission(timepoints=["post"], tissues=["BM"])
LACKING: dict[str, Shift] = {
    "honest, 10 % of genes absent": fewer_genes(0.1),
    "honest, 25 % of genes absent": fewer_genes(0.25),
    "honest, half the panel": fewer_proteins(0.5),
    "honest, no proteins": fewer_proteins(1.0),
}
SHIFTS: dict[str, tuple[Shift, Admission]] = {
    "log-normalised input": (log_normalised, BEFORE),
    "shuffled genes": (shuffled_genes, BEFORE),
    "mouse symbols": (mouse_symbols, BEFORE),
    "other tissue": (as_it_is, _MARROW),
    "other tissue, not said": (said_to_be_before, _MARROW),
    "5x shallower": (shallower, BEFORE),
    "wrong time point": (as_it_is, _BLOOD),
    "wrong time point, not said": (said_to_be_before, _BLOOD),
    "protein zeros for missing": (protein_zeros, BEFORE),
    "swapped ADT": (swapped_proteins, BEFORE),
}


@dataclass(frozen=True)
class Scored:
    """Patients of one kind: (n) score, whether refused, and how often for what."""

    score: Array
    refused: Array
    reasons: pd.Series[int]


def scored(trust: Trust, members: list[LoadedMember], store: CohortStore, bags: Bags) -> Scored:
    """How far beyond what is allowed each patient is, and whether one rule refuses it."""
    said = trust.of(members, store, bags, {})
    rules = [own for own in trust.policy.in_force if own.fact not in _OF_THE_MODEL]
    codes = {own.code for own in rules}
    over = np.stack(
        [said.facts[own.fact] / max(own.above, 1e-9) for own in rules if own.above is not None]
    )
    kept = [[code for code in own.split(";") if code in codes] for own in said.table["reasons"]]
    return Scored(
        score=over.max(axis=0),
        refused=np.array([len(own) > 0 for own in kept]),
        reasons=pd.Series([code for own in kept for code in own], dtype=object).value_counts(),
    )


def measure(given: Settings, folder: Path) -> Iterator[tuple[str, Scored]]:
    """Honest patients first, then each shift of them."""
    store = _prepared(given, 2 * given.patients, given.seed, folder)
    members = trained(given, store, folder)
    trust = fitted_trust(given, members, store)
    rng = np.random.default_rng(given.seed)

    def fresh(store: CohortStore, admission: Admission) -> Bags:
        every = bags_of(store, admission)
        rows = np.flatnonzero(every.table["patient"].to_numpy() >= given.patients)
        return replace(
            every, table=every.table.iloc[rows], slices=tuple(every.slices[n] for n in rows)
        )

    yield HONEST, scored(trust, members, store, fresh(store, BEFORE))
    other = _prepared(given, given.patients, given.seed + 1000, folder)
    yield ELSEWHERE, scored(trust, members, other, bags_of(other, BEFORE))
    for name, lack in LACKING.items():
        yield name, scored(trust, members, lack(store, rng), fresh(store, BEFORE))
    for name, (shift, admission) in SHIFTS.items():
        bags = fresh(store, admission)
        yield name, scored(trust, members, shift(store, rng), bags)


def main() -> None:
    """Print a line for each shift, over all seeds together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    given = parser.parse_args()
    found: dict[str, list[tuple[Scored, float]]] = {}
    for seed in given.seeds:
        settings = Settings(given.patients, given.cells, given.epochs, seed)
        honest = np.zeros(0)
        with tempfile.TemporaryDirectory() as folder:
            for name, own in measure(settings, Path(folder)):
                honest = own.score if name == HONEST else honest
                labels = np.repeat([0.0, 1.0], [len(honest), len(own.score)])
                area = auroc(labels, np.concatenate([honest, own.score]))
                found.setdefault(name, []).append((own, area))
    say = sys.stdout.write
    say(f"{'':<29} {'AUROC':>6} {'least':>6} {'refused':>8}  reasons\n")
    for name, of_seeds in found.items():
        refused = np.concatenate([own.refused for own, _ in of_seeds])
        reasons = pd.concat([own.reasons for own, _ in of_seeds]).groupby(level=0).sum()
        words = ", ".join(f"{code} {n}" for code, n in reasons.nlargest(3).items())
        areas = [area for _, area in of_seeds]
        shown = f"{np.mean(areas):>6.3f} {min(areas):>6.3f}" if name != HONEST else " " * 13
        say(f"{name:<29} {shown} {np.mean(refused):>8.1%}  {words}\n")


if __name__ == "__main__":
    main()
