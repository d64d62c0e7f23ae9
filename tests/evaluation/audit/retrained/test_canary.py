"""The canary is silent on a clean pipeline, and alarms where labels of held-out bags get in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recart.contracts import Member
from recart.data.features import FeatureChoice
from recart.data.store import CohortStore
from recart.evaluation.audit.canary import encoder_reads_labels, refitted, retrained, verdict
from recart.evaluation.audit.finding import Severity
from recart.evaluation.audit.null_auroc import FoldBags, band, null_auroc
from recart.evaluation.audit.outcome import Outcome
from recart.evaluation.audit.permuted_labels import class_sizes, permuted_labels
from recart.training.cohort_setup import PreparedCohort
from recart.training.heads import BagLatents
from recart.training.prototype_head import PrototypeHead

HEAD = PrototypeHead(
    prototypes=4, shrinkage=5.0, cells=2000, strengths=[0.01, 1.0], inner_folds=3, use_extras=True
)


def cohort(patients: int, bags: int, personal: float, seed: int) -> Any:
    """Latents of random bags, a patient's bags alike by `personal`; labels by patient."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), bags)
    centre = personal * rng.normal(size=(patients, 12))
    latents = [centre[p] + rng.normal(size=(25, 12)) for p in owner]
    return latents, (owner % 2).astype(np.int64), owner


def folds_of(latents: Any, owner: Any, fold: Any, extras: Any = None) -> list[FoldBags]:
    extras = np.zeros((len(owner), 0)) if extras is None else extras

    def bags(rows: Any) -> BagLatents:
        return BagLatents(
            latents=[latents[n] for n in rows],
            extras=extras[rows],
            extra_names=[f"x{i}" for i in range(extras.shape[1])],
            patients=owner[rows],
        )

    made = []
    for number in np.unique(fold):
        seen, unseen = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        made.append(
            FoldBags(
                seed=int(number),
                development=seen,
                held_out=unseen,
                seen=bags(seen),
                unseen=bags(unseen),
            )
        )
    return made


def permutations(y: Any, owner: Any, folds: list[FoldBags], count: int = 30) -> list[Any]:
    found = permuted_labels(y, owner, [own.development for own in folds], count, seed=5)
    assert len(found) == count
    return found


def test_a_clean_pipeline_is_silent() -> None:
    latents, y, owner = cohort(patients=40, bags=1, personal=1.0, seed=0)
    folds = folds_of(latents, owner, np.arange(40) // 2 % 5)
    finding = verdict(refitted([HEAD] * 5, folds, permutations(y, owner, folds, 60)), (20, 20), "x")
    assert (finding.severity, finding.code) == (Severity.PASSED, "A-CAN-000")
    assert abs(finding.evidence["mean_auroc"] - 0.5) < 0.06


def test_a_split_by_sample_raises_the_alarm() -> None:
    latents, y, owner = cohort(patients=20, bags=2, personal=2.0, seed=1)
    fold = np.random.default_rng(0).permutation(np.arange(40) % 5)  # patients on both sides
    folds = folds_of(latents, owner, fold)
    finding = verdict(refitted([HEAD] * 5, folds, permutations(y, owner, folds)), (10, 10), "x")
    assert (finding.severity, finding.code) == (Severity.LEAK, "A-CAN-001")
    assert finding.evidence["mean_auroc"] > 0.8


class GenesByLabel(FeatureChoice):
    """Leaks: the genes whose means differ most between the classes, over all patients."""

    def _genes(self, store: CohortStore, _cells: Any) -> list[str]:
        responds = (store.patients["response"] == "R").to_numpy()[store.cells["patient"]]
        rna = store.rna[:].toarray().astype(float)
        difference = np.abs(rna[responds].mean(0) - rna[~responds].mean(0))
        best = np.sort(np.argsort(-difference)[: self.n_genes])
        return [store.genes[i] for i in best]


def by_bag(cohort: PreparedCohort, new: Any) -> dict[str, int]:
    return dict(zip(cohort.bags.table.index, map(int, new), strict=True))


@pytest.mark.slow  # trains twice
def test_labels_that_enter_the_encoder_are_seen(study: Any) -> None:
    cohort = study.outcome.bags(study.store)
    table = cohort.bags.table
    new = by_bag(cohort, np.roll(table["label"].to_numpy(), 3) ^ (np.arange(len(table)) < 4))
    member = study.members[0]
    assert encoder_reads_labels(study.train, study.store, study.outcome, member, new) == []
    features = GenesByLabel(n_genes=10, exclude=[], prior_cells=10)
    leaky = replace(study.train, recipes=replace(study.train.recipes, features=features))
    changed = encoder_reads_labels(leaky, study.store, study.outcome, member, new)
    assert {"gene list", "encoder weights"} <= set(changed)


def four_folds() -> list[Member]:
    codes = range(12)
    held_out = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)]
    watched = [(3, 4, 5, 6), (6, 7, 8, 9), (9, 10, 11, 0), (0, 1, 2, 3)]
    return [
        Member(
            name=f"r0f{i}",
            fold=i,
            repeat=0,
            seed=i,
            train=tuple(c for c in codes if c not in (*own, *seen)),
            validation=seen,
            held_out=own,
        )
        for i, (own, seen) in enumerate(zip(held_out, watched, strict=True))
    ]


class Selecting(Outcome):
    """Leaks: bag features are the 8 of 400 random ones that speak for the labels of all bags."""

    def bags(self, store: CohortStore) -> PreparedCohort:
        own = super().bags(store)
        random = np.random.default_rng(3).normal(size=(len(own.bags), 400))
        y = own.bags.table["label"].to_numpy(dtype=float)
        best = np.abs(np.corrcoef(random.T, y)[-1, :-1]).argsort()[-8:]
        extras = pd.DataFrame(random[:, best], index=own.bags.table.index).add_prefix("x")
        return replace(own, extras=extras)


@pytest.mark.slow  # trains 32 tiny members
def test_a_selection_by_labels_raises_the_alarm_and_a_clean_one_does_not(study: Any) -> None:
    cohort = study.outcome.bags(study.store)
    members = four_folds()
    y, owner = cohort.bags.table["label"].to_numpy(), cohort.bags.table["patient"].to_numpy()
    development = [np.array([*own.train, *own.validation]) for own in members]
    labels = [by_bag(cohort, new) for new in permuted_labels(y, owner, development, 4, seed=0)]
    selecting = Selecting(data=study.outcome.data, values=study.outcome.values)
    found = list(retrained(study.train, study.store, selecting, members, labels))
    assert len(found) == 4
    finding = verdict(found, class_sizes(y, owner), "trained anew")
    assert finding.code == "A-CAN-001"
    honest = list(retrained(study.train, study.store, study.outcome, members, labels))
    assert verdict(honest, class_sizes(y, owner), "trained anew").severity is not Severity.LEAK


def test_labels_move_with_their_patients() -> None:
    owner = np.repeat(np.arange(10), 3)
    y = (owner % 2).astype(np.int64)
    for new in permuted_labels(y, owner, [np.arange(30)], 20, seed=0):
        assert all(len(set(new[owner == p])) == 1 for p in range(10))
        assert new.sum() == y.sum()


def test_labels_that_differ_within_patients_are_shuffled_there_as_well() -> None:
    owner = np.repeat(np.arange(6), 2)
    y = np.tile([0, 1], 6)
    found = permuted_labels(y, owner, [np.arange(12)], 20, seed=0)
    assert len({tuple(new) for new in found}) > 10
    assert all(new.sum() == 6 for new in found)


def test_permutations_leave_two_patients_of_each_class_in_every_fold() -> None:
    y, owner = np.array([0, 0, 0, 1, 1, 1]), np.arange(6)
    fold = np.array([0, 1, 2, 3, 4])
    for new in permuted_labels(y, owner, [fold], 15, seed=0):
        assert 2 <= new[fold].sum() <= 3
    assert permuted_labels(y, owner, [np.array([0, 1, 2])], 5, seed=0) == []


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [((10, 10), 0.07), ((20, 20), 0.06), ((40, 40), 0.04), ((25, 25), 0.055), ((75, 75), 0.03)],
)
def test_the_band_is_that_of_the_simulations(sizes: tuple[int, int], expected: float) -> None:
    assert band(sizes, 30) == pytest.approx(expected)
    assert band(sizes, 100) == band(sizes, 30)


def test_the_band_widens_with_unequal_classes_few_patients_and_few_permutations() -> None:
    assert band((8, 32), 30) > band((20, 20), 30)
    assert band((5, 5), 30) == pytest.approx(0.07 * 2**0.5)
    assert band((20, 20), 10) == pytest.approx(0.06 * 3**0.5)


def test_the_auroc_compares_bags_of_one_fold_only() -> None:
    def auroc(*logits: float) -> float:
        y, of_bags = np.array([1, 0, 1, 0, 1]), np.array(logits)
        return null_auroc([(y[:2], of_bags[:2]), (y[2:4], of_bags[2:4]), (y[4:], of_bags[4:])])

    assert auroc(0.0, -1.0, 9.0, 10.0, 5.0) == 0.5
    assert auroc(0.0, -1.0, 9.0, 8.0, 5.0) == 1.0
    assert auroc(0.0, 0.0, 0.0, 0.0, 0.0) == 0.5


def test_folds_of_one_patient_are_unknown_and_no_pass() -> None:
    aurocs = [null_auroc([(np.array([1]), np.array([0.3])), (np.array([0]), np.array([0.1]))])]
    finding = verdict(aurocs, (20, 20), "x")
    assert (finding.severity, finding.code) == (Severity.UNKNOWN, "A-CAN-004")


def test_a_mean_below_the_band_is_a_bias_and_no_leak() -> None:
    finding = verdict([0.2, 0.3] * 15, (20, 20), "x")
    assert (finding.severity, finding.code) == (Severity.WARNING, "A-CAN-002")
