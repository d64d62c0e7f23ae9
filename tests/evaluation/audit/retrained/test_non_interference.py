"""No byte changes with held-out patients; where one does, the finding says which artefact's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from recart.contracts import Member
from recart.data.features import FeatureChoice
from recart.data.store import CohortStore
from recart.evaluation.audit.finding import Finding, Severity
from recart.evaluation.audit.manipulations import MANIPULATIONS
from recart.evaluation.audit.non_interference import Interference, interferences, verdict
from recart.evaluation.audit.retraining import Retrained, Train
from recart.training.cohort_setup import PreparedCohort

FLIPPED, SCRAMBLED, REMOVED, REPLACED = MANIPULATIONS

pytestmark = pytest.mark.slow  # trains


def changes(study: Any, train: Train, *which: str) -> dict[str, Interference]:
    """What the manipulations do to the first member, by manipulation."""
    some = {name: MANIPULATIONS[name] for name in which or MANIPULATIONS}
    first = study.members[:1]
    found = list(interferences(train, study.store, study.outcome, first, some))
    return {one.manipulation: one for one in found}


def said(found: dict[str, Interference]) -> list[Finding]:
    return list(verdict(list(found.values())))


def test_the_pipeline_as_it_is_changes_no_byte(study: Any) -> None:
    found = list(interferences(study.train, study.store, study.outcome, study.members))
    assert [one.manipulation for one in found] == list(MANIPULATIONS) * 2
    assert all(not one.differing and not one.failure for one in found)
    assert all(one.n_artefacts >= 14 for one in found)
    (finding,) = verdict(found)
    assert (finding.severity, finding.code) == (Severity.PASSED, "A-NI-000")
    assert "0 differing bytes in 8 retrainings: 2 folds, 4 manipulations" in finding.what


def test_nothing_stays_in_the_folder(study: Any) -> None:
    study.train(study.outcome.bags(study.store), study.members[0])
    assert not list(study.train.folder.iterdir())


class GenesOfAll(FeatureChoice):
    """Leaks: chooses genes on the cells of all patients."""

    def _genes(self, store: CohortStore, _cells: Any) -> list[str]:
        return super()._genes(store, np.arange(len(store.cells)))


class PriorsOfAll(FeatureChoice):
    """Leaks: starts the protein background from the cells of all patients."""

    def _background(
        self, store: CohortStore, _cells: Any, batches: list[str], _codes: Any, seed: int
    ) -> Any:
        named = store.samples["batch"].to_numpy()[store.cells["sample"].to_numpy()]
        codes = np.array([batches.index(name) if name in batches else -1 for name in named])
        every = np.flatnonzero(codes >= 0)
        return super()._background(store, every, batches, codes[every], seed)


def with_features(study: Any, kind: type[FeatureChoice]) -> Train:
    own = study.train.recipes.features
    leaky = kind(n_genes=own.n_genes, exclude=own.exclude, prior_cells=10_000)
    return replace(study.train, recipes=replace(study.train.recipes, features=leaky))


@pytest.mark.parametrize(
    ("kind", "artefact", "untouched"),
    [(GenesOfAll, "gene list", "priors"), (PriorsOfAll, "priors", "gene list")],
)
def test_features_of_all_patients_are_named(
    study: Any, kind: type[FeatureChoice], artefact: str, untouched: str
) -> None:
    found = changes(study, with_features(study, kind))
    assert not found[FLIPPED].differing  # they read no labels
    for name in (SCRAMBLED, REMOVED):
        assert artefact in found[name].differing
        assert "encoder weights" in found[name].differing
        assert untouched not in found[name].differing
    finding = next(own for own in said(found) if own.evidence["manipulation"] == SCRAMBLED)
    assert (finding.severity, finding.code) == (Severity.LEAK, "A-NI-001")
    assert "fold 0 (member r0f0)" in finding.what
    assert artefact in finding.what
    assert finding.evidence["fold"] == 0


def test_an_epoch_chosen_on_held_out_patients_is_named(study: Any) -> None:
    def leaky(cohort: PreparedCohort, member: Member) -> Retrained:
        watched = (*member.validation, *member.held_out)
        return study.train(cohort, replace(member, validation=watched, held_out=()))

    found = changes(study, leaky, SCRAMBLED)[SCRAMBLED]
    assert {"loss at the chosen epoch", "training log"} <= set(found.differing)
    assert not {"gene list", "priors", "batch categories"} & set(found.differing)


def test_a_head_that_knows_held_out_labels_is_named(study: Any) -> None:
    def leaky(cohort: PreparedCohort, member: Member) -> Retrained:
        """Target encoding: how often each patient's first batch responds, over all patients."""
        first = [own[0].start for own in cohort.bags.slices]
        sample = cohort.store.cells["sample"].to_numpy()[first]
        batch = cohort.store.samples["batch"].to_numpy()[sample]
        rate = cohort.bags.table["label"].groupby(batch).transform("mean")
        extras = cohort.extras.assign(batch_rate=rate.to_numpy())
        return study.train(replace(cohort, extras=extras), member)

    found = changes(study, leaky, FLIPPED)[FLIPPED]
    assert "head weights" in found.differing
    assert not {"encoder weights", "prototypes", "gene list"} & set(found.differing)


def test_a_training_that_fails_without_held_out_patients_is_a_leak(study: Any) -> None:
    def leaky(cohort: PreparedCohort, member: Member) -> Retrained:
        if len(cohort.store.patients) < 12:
            raise KeyError("P-010")
        return study.train(cohort, member)

    found = changes(study, leaky, REMOVED)
    (finding,) = said(found)
    assert (finding.severity, finding.code) == (Severity.LEAK, "A-NI-003")
    assert finding.evidence["failure"] == "KeyError"
    assert "P-010" not in finding.what


def test_a_training_that_does_not_repeat_is_not_called_a_leak(study: Any) -> None:
    calls = count()

    def unsteady(cohort: PreparedCohort, member: Member) -> Retrained:
        return study.train(cohort, replace(member, seed=next(calls)))

    (finding,) = said(changes(study, unsteady, REPLACED))
    assert (finding.severity, finding.code) == (Severity.UNKNOWN, "A-NI-002")


def held_out_rows(store: CohortStore, patients: Sequence[int]) -> Any:
    return np.isin(store.cells["patient"].to_numpy(), list(patients))


@pytest.mark.parametrize("name", MANIPULATIONS)
def test_a_manipulation_changes_held_out_patients_and_nobody_else(
    name: str, study: Any, make_store: Callable[..., CohortStore]
) -> None:
    before, patients = study.store, (4, 9)
    after = MANIPULATIONS[name](before, patients, study.outcome)
    untouched = make_store(patients=12, cells=30)
    assert before.cells.equals(untouched.cells)  # the store that was given is as it was
    assert (before.rna != untouched.rna).nnz == 0
    others = ~held_out_rows(before, patients)
    mine = np.flatnonzero(others)
    if name == REMOVED:
        assert len(after.patients) == 10
        assert len(after.cells) == others.sum()
        mine = np.arange(len(after.cells))
    assert (after.rna[mine] != before.rna[np.flatnonzero(others)]).nnz == 0
    np.testing.assert_array_equal(after.protein[mine], before.protein[others])
    kept = after.samples.loc[[s for s in after.samples.index if s in before.samples.index]]
    for sample in kept.index:
        if before.samples.loc[sample, "patient"] not in patients:
            assert kept.loc[sample, "batch"] == before.samples.loc[sample, "batch"]
    old, new = (study.outcome.bags(own) for own in (before, after))
    own_names = list(before.patients.index[list(patients)])
    stay = [bag for bag in old.bags.table.index if bag not in own_names]
    assert (new.bags.table.loc[stay, "label"] == old.bags.table.loc[stay, "label"]).all()
    np.testing.assert_array_equal(new.extras.loc[stay], old.extras.loc[stay])
    theirs = np.flatnonzero(held_out_rows(before, patients))
    if name == FLIPPED:
        labels = old.bags.table.loc[own_names, "label"], new.bags.table.loc[own_names, "label"]
        assert (labels[0] == 1 - labels[1]).all()
    if name == SCRAMBLED:
        same = after.rna[theirs].toarray() == before.rna[theirs].toarray()
        assert same.mean() < 0.7
        assert (after.protein[theirs] == before.protein[theirs]).mean() < 0.05
        gone = np.isin(before.clones["patient"], patients)
        assert (after.receptor[gone] != before.receptor[gone]).all()
        np.testing.assert_array_equal(after.receptor[~gone], before.receptor[~gone])
    if name == REPLACED:
        own = after.samples["patient"].isin(patients)
        assert after.samples.loc[own, "batch"].str.startswith("replaced").all()
        assert (after.samples.loc[own, "day"] != before.samples.loc[own, "day"]).all()
        assert after.patients["response"].equals(before.patients["response"])
