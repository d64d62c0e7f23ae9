"""Leaks planted in cohorts are found and rightly named; the sound cohort beside them is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recart.data.split import FoldPatients, Split
from recart.evaluation.audit.finding import Severity
from recart.problems import InputError
from recart.training.cohort_setup import PreparedCohort

Audit = Callable[..., Any]


@pytest.fixture
def leaks(leak_module: Callable[[str], ModuleType]) -> ModuleType:
    return leak_module("cohort_leaks")


def one(found: Any) -> tuple[str, str, str]:
    """The only finding that is no pass."""
    flagged = found.flagged()
    assert len(flagged) == 1, flagged
    return flagged.pop()


def test_the_sound_cohort_is_not_flagged(simulate: Audit, audit_cohort: Audit) -> None:
    assert audit_cohort(simulate(0)).flagged() == set()


@pytest.mark.parametrize(
    ("leak", "expected", "word"),
    [
        ("filtered_by_outcome", ("confounders", "A-CF-003", "WARNING"), "quality only"),  # L10
        ("fewer_cells_without_response", ("confounders", "A-CF-003", "WARNING"), "quality only"),
        ("relapse_day", ("targets", "A-TG-001", "WARNING"), "'empty: relapse_day'"),  # L13
        ("vital_status", ("targets", "A-TG-001", "WARNING"), "'vital_status'"),
        ("enrolled_by_outcome", ("targets", "A-TG-001", "WARNING"), "'days of enrolled'"),
        ("score_among_many", ("targets", "A-TG-001", "WARNING"), "'score'"),
        ("named_like_the_audits_own", ("targets", "A-TG-001", "WARNING"), "'label'"),
        ("named_like_the_audits_own", ("targets", "A-TG-001", "WARNING"), "'stop'"),
        ("ids_by_outcome", ("targets", "A-TG-001", "WARNING"), "'word 2 in the patient id'"),
        ("order_by_outcome", ("targets", "A-TG-001", "WARNING"), "'order of the ids'"),
        ("files_by_outcome", ("targets", "A-TG-001", "WARNING"), "'order in the files'"),
    ],
)
def test_leaks_of_tables_and_filters(
    leak: str,
    expected: tuple[str, str, str],
    word: str,
    leaks: ModuleType,
    simulate: Audit,
    audit_cohort: Audit,
) -> None:
    found = audit_cohort(getattr(leaks, leak)(simulate(0), seed=0))
    assert expected in found.flagged()
    assert {check for check, _, _ in found.flagged()} == {expected[0]}
    assert word in found.said(expected[1])


def test_a_column_of_the_outcome_that_the_head_reads_is_a_leak(
    leaks: ModuleType, simulate: Audit, audit_cohort: Audit
) -> None:
    def read_it(cohort: PreparedCohort) -> PreparedCohort:
        dead = (cohort.store.patients["vital_status"] == "dead").astype(float)
        return replace(cohort, extras=cohort.extras.assign(vital_status=dead.to_numpy()))

    found = audit_cohort(leaks.vital_status(simulate(0), seed=0), change=read_it)
    assert ("targets", "A-TG-001", "LEAK") in found.flagged()


def test_a_batch_that_follows_the_response(simulate: Audit, audit_cohort: Audit) -> None:  # L11
    found = audit_cohort(simulate(0, patients=40, batch_follows_response=0.8))
    assert {check for check, _, _ in found.flagged()} == {"confounders"}
    assert "'batch only' tells" in found.said("A-CF-003")
    assert found.worst() < Severity.LEAK


def test_a_batch_that_is_the_response_forbids_any_claim(
    simulate: Audit, audit_cohort: Audit
) -> None:
    found = audit_cohort(simulate(0, batch_follows_response=1.0))
    assert ("confounders", "A-CF-001", "LEAK") in found.flagged()
    assert "batch is aligned with the endpoint" in found.said("A-CF-001")


def test_samples_from_after_treatment(simulate: Audit, audit_cohort: Audit) -> None:  # L12
    found = audit_cohort(simulate(0), decision_day=None)
    assert ("time", "A-TI-002", "WARNING") in found.flagged()


def test_samples_from_after_the_decision_that_slipped_in(
    simulate: Audit, audit_cohort: Audit, prepared: Audit
) -> None:
    def all_samples(cohort: PreparedCohort) -> PreparedCohort:
        return replace(cohort, bags=prepared(simulate(0), decision_day=None).bags)

    found = audit_cohort(simulate(0), change=all_samples)
    assert ("time", "A-TI-001", "LEAK") in found.flagged()


@pytest.mark.parametrize("depth", [None, 0.5])
def test_a_donor_under_two_ids(
    depth: float | None, leaks: ModuleType, simulate: Audit, audit_cohort: Audit
) -> None:  # L05
    cohort = simulate(0)
    twice = cohort.patients.index[3]
    found = audit_cohort(leaks.donor_under_two_ids(cohort, twice, depth=depth, seed=0))
    assert one(found) == ("identity", "A-ID-001", "LEAK")


def test_copied_cells_with_changed_counts(
    leaks: ModuleType, simulate: Audit, audit_cohort: Audit
) -> None:
    found = audit_cohort(leaks.copied_cells(simulate(0), cells=4, changed=2, seed=0))
    assert one(found) == ("identity", "A-ID-001", "LEAK")
    assert "4 cells with the same counts" in found.said("A-ID-001")


def forged(split: Split, patients: int) -> Split:
    """L04: a split that `Split` refuses: some held-out patients are trained on as well."""
    folds = [
        FoldPatients(
            repeat=fold.repeat,
            fold=fold.fold,
            seed=fold.seed,
            train=tuple(sorted({*fold.train, *fold.held_out[:patients]})),
            validation=fold.validation,
            held_out=fold.held_out,
        )
        for fold in split.folds
    ]
    with pytest.raises(InputError, match="in two parts"):
        Split(seed=split.seed, folds=tuple(folds))
    made = object.__new__(Split)
    object.__setattr__(made, "seed", split.seed)
    object.__setattr__(made, "folds", tuple(folds))
    return made


def test_a_patient_on_both_sides_of_a_fold(
    simulate: Audit, checks: dict[str, Any], evaluated: Audit
) -> None:  # L04
    own, run = evaluated(simulate(0))
    broken = replace(own, split=forged(own.split, 2))
    found = [f for f in checks["structure"].findings(broken, run) if f.severity is Severity.LEAK]
    assert {f.code for f in found} == {"A-ST-001", "A-ST-002"}
    assert "8 patients are on both sides" in found[0].what


def test_one_donor_given_as_two_patients(simulate: Audit, audit_cohort: Audit) -> None:  # L04
    cohort = simulate(0)
    donor = np.arange(len(cohort.patients)) // 2
    found = audit_cohort(
        replace(cohort, patients=cohort.patients.assign(donor=[f"D{d}" for d in donor]))
    )
    assert ("structure", "A-ST-003", "LEAK") in found.flagged()


def test_pools_and_families_across_folds(simulate: Audit, audit_cohort: Audit) -> None:
    cohort = simulate(0)
    order = np.random.default_rng(0).permutation(len(cohort.samples))
    samples = cohort.samples.assign(library=[f"L{i // 4}" for i in order])
    found = audit_cohort(replace(cohort, samples=samples))
    assert one(found) == ("structure", "A-ST-003", "WARNING")
    assert "column library" in found.said("A-ST-003")


@pytest.mark.parametrize(
    ("part", "who"),
    [("epoch", "held_out"), ("features", "all"), ("head", "all"), ("confounds", "all")],
)
def test_parts_that_admit_whom_they_saw(
    part: str, who: str, simulate: Audit, audit_cohort: Audit
) -> None:  # L08, L01 and L02, L09, L17 where the artefact is honest
    found = audit_cohort(simulate(0), fitted_on={part: who})
    assert {
        ("provenance", "A-PR-001", "LEAK"),
        ("structure", "A-ST-001", "LEAK"),
    } == found.flagged()
    assert part in found.said("A-PR-001")


def test_the_best_of_many_configurations(simulate: Audit, audit_cohort: Audit) -> None:  # L07
    found = audit_cohort(simulate(0), ledger=50)
    assert one(found) == ("provenance", "A-PR-006", "WARNING")
    assert "50 configurations" in found.said("A-PR-006")


def test_clones_as_names_of_patients(simulate: Audit, audit_cohort: Audit) -> None:  # L14
    def one_hot(cohort: PreparedCohort) -> PreparedCohort:
        clone, patient = (cohort.store.cells[c].to_numpy() for c in ("clone", "patient"))
        largest = pd.Series(clone[clone >= 0]).value_counts().index[:20]
        columns = {
            f"clone {c}": np.isin(np.arange(len(cohort.bags)), patient[clone == c]).astype(float)
            for c in largest
        }
        return replace(cohort, extras=cohort.extras.assign(**columns))

    found = audit_cohort(simulate(0), change=one_hot)
    assert one(found) == ("provenance", "A-PR-004", "WARNING")
    assert "20 bag features" in found.said("A-PR-004")
