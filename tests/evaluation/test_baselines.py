"""Baselines: they find what they are for, and a held-out bag reaches nothing but its own score."""

from __future__ import annotations

import sys
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import sparse
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

import recart.evaluation.baselines as package
from recart.data.bags import with_blocks
from recart.evaluation.baselines import (
    Baseline,
    BatchOnly,
    ClinicalOnly,
    ClusterMeans,
    Composition,
    CompositionWithClinical,
    Fold,
    PseudobulkPCA,
    QualityOnly,
    cross_validate_baselines,
)
from recart.evaluation.baselines.baseline import bag_groups
from recart.evaluation.baselines.clusters import CellClusters
from recart.evaluation.baselines.pseudobulk import protein_means
from recart.evaluation.baselines.ridge import INNER_FOLDS, RIDGE_GRID, inner_folds, ridge_logits
from recart.evaluation.metrics import metrics
from recart.evaluation.predictions import aggregate
from recart.problems import InputError
from recart.training.decision_rule import fit_decision_rule
from recart.training.ridge_experts import SCREENS

ALL: list[Baseline] = [
    Composition(clusters=4, components=4),
    Composition(given_types=True),
    PseudobulkPCA(components=5),
    QualityOnly(),
    BatchOnly(),
    ClusterMeans(clusters=4, components=4),
    ClinicalOnly(columns=["age", "stage"]),
    CompositionWithClinical(Composition(clusters=4, components=4), ClinicalOnly(["age", "stage"])),
]


def _folds(y: np.ndarray, k: int = 3) -> list[Fold]:
    splits = StratifiedKFold(k, shuffle=True, random_state=0).split(y, y)
    return [Fold(0, fold, train, test) for fold, (train, test) in enumerate(splits)]


def _auroc(baseline: Baseline, make_cohort: Any, **effects: float) -> float:
    store, bags = make_cohort(patients=30, **effects)
    folds = _folds(bags.table["label"].to_numpy())
    table = cross_validate_baselines([baseline], store, bags, folds, seed=0)
    auroc = metrics(aggregate(table, baseline.name)).auroc
    assert auroc is not None
    return auroc


@pytest.mark.parametrize(
    ("baseline", "effects"),
    [
        (ALL[0], {"composition": 0.6}),
        (ALL[1], {"composition": 0.6}),
        (ALL[2], {"state": 0.8}),
        (ALL[3], {"depth": 0.3}),
        (ALL[4], {"batch": 0.9}),
        (ALL[5], {"state": 0.8}),
        (ALL[6], {"clinical": 2.0}),
        (ALL[7], {"composition": 0.6}),
        (ALL[7], {"clinical": 2.5}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_baseline_finds_its_effect(make_cohort: Any, baseline: Baseline, effects: Any) -> None:
    assert _auroc(baseline, make_cohort, **effects) > 0.85


def test_both_together_find_what_neither_does_alone(make_cohort: Any) -> None:
    def mean(baseline: Baseline) -> float:
        return float(
            np.mean(
                [
                    _auroc(baseline, partial(make_cohort, seed=seed), composition=0.1, clinical=1.6)
                    for seed in range(3)
                ]
            )
        )

    assert mean(ALL[7]) > max(mean(ALL[0]), mean(ALL[6])) + 0.03


@pytest.mark.parametrize("baseline", [ALL[1], ALL[4]], ids=lambda one: one.name)
def test_depth_alone_moves_neither_given_types_nor_batch(
    make_cohort: Any, baseline: Baseline
) -> None:
    assert _auroc(baseline, make_cohort, depth=0.3) < 0.8


@pytest.mark.parametrize("baseline", ALL, ids=lambda one: one.name)
def test_a_held_out_bag_changes_no_other_score(make_cohort: Any, baseline: Baseline) -> None:
    store, bags = make_cohort(composition=0.4, state=0.3, batch=0.4)
    train, test = np.arange(18), np.arange(18, 24)
    clean, inner = astuple(baseline.fit_predict(store, bags, train, test, seed=0))

    poisoned = test[0]
    rows = bags.cells([poisoned])
    rng = np.random.default_rng(7)
    counts = store.rna.toarray()
    counts[rows] = rng.poisson(30, size=counts[rows].shape)
    cells, samples, labels = store.cells.copy(), store.samples.copy(), bags.table.copy()
    cells.loc[rows, ["n_counts", "n_genes", "pct_mito"]] = 1e6
    cells.loc[rows, "cell_type"] = "never seen"
    cells.loc[rows, "clone"] = -1
    samples.iloc[poisoned, samples.columns.get_loc("batch")] = "B9"
    labels.iloc[test, labels.columns.get_loc("label")] = 1 - labels["label"].to_numpy()[test]
    protein, patients = store.protein.copy(), store.patients.copy()
    protein[rows] = 1000
    patients.iloc[poisoned, patients.columns.get_loc("age")] = 1e6
    patients.iloc[poisoned, patients.columns.get_loc("stage")] = "never seen"
    scrambled = replace(
        store,
        rna=sparse.csr_matrix(counts),
        cells=cells,
        samples=samples,
        protein=protein,
        patients=patients,
    )
    labelled = replace(bags, table=labels)
    after, inner_after = astuple(baseline.fit_predict(scrambled, labelled, train, test, seed=0))
    np.testing.assert_array_equal(inner_after, inner)
    assert np.isfinite(inner).all()
    np.testing.assert_array_equal(after[1:], clean[1:])

    alone = baseline.fit_predict(store, bags, train, test[2:3], seed=0).held_out
    np.testing.assert_allclose(alone, clean[2:3], rtol=0, atol=1e-12)


@pytest.mark.parametrize("baseline", ALL, ids=lambda one: one.name)
def test_the_seed_decides(make_cohort: Any, baseline: Baseline) -> None:
    store, bags = make_cohort()
    runs = [
        baseline.fit_predict(store, bags, np.arange(18), np.arange(18, 24), seed=3).held_out
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize("baseline", ALL, ids=lambda one: one.name)
def test_a_bag_of_one_cell_is_scored(make_cohort: Any, baseline: Baseline) -> None:
    store, bags = make_cohort()
    slices = list(bags.slices)
    slices[20] = (slice(slices[20][0].start, slices[20][0].start + 1),)
    slices[3] = (slice(slices[3][0].start, slices[3][0].start + 1),)
    small = replace(bags, slices=tuple(slices))
    logits = baseline.fit_predict(store, small, np.arange(18), np.arange(18, 24), seed=0).held_out
    assert np.isfinite(logits).all()


def test_normalised_expression_is_taken_as_it_is(make_cohort: Any) -> None:
    store, bags = make_cohort(state=0.8)
    normal = replace(store, rna=store.rna.astype(np.float32).log1p(), normalised=True)
    train, test = np.arange(18), np.arange(18, 24)
    logits = PseudobulkPCA(components=5).fit_predict(normal, bags, train, test, seed=0).held_out
    assert roc_auc_score(bags.table["label"].to_numpy()[test], logits) == 1.0


def test_protein_means_leave_out_what_was_not_measured(make_cohort: Any) -> None:
    store, bags = make_cohort()
    means = protein_means(store, bags, np.arange(2))
    assert np.isnan(means[0, 0])
    assert means[1, 0] == pytest.approx(np.log1p(store.protein[bags.cells([1]), 0]).mean())


def test_without_features_the_training_prevalence_is_said(make_cohort: Any) -> None:
    store, bags = make_cohort()
    blank = replace(store, samples=store.samples.drop(columns="batch"))
    train = np.r_[np.arange(0, 18, 2), 1, 3, 5]
    logits = BatchOnly().fit_predict(blank, bags, train, np.arange(18, 24), seed=0).held_out
    np.testing.assert_allclose(logits, np.log(9 / 3))


def test_given_types_must_be_there(make_cohort: Any) -> None:
    store, bags = make_cohort()
    bare = replace(store, cells=store.cells.drop(columns="cell_type"))
    with pytest.raises(InputError, match="E-EVAL-013"):
        Composition(given_types=True).fit_predict(bare, bags, np.arange(18), np.arange(18, 24), 0)


def test_inner_folds_keep_patients_whole_and_classes_both() -> None:
    patients = np.repeat(np.arange(12), 2)
    y = np.repeat((np.arange(12) % 3 == 0).astype(float), 2)
    folds = inner_folds(y, patients, seed=0)
    assert len(folds) == 4
    for fit, check in folds:
        assert not set(patients[fit]) & set(patients[check])
        assert set(y[fit]) == {0.0, 1.0}
    assert inner_folds(np.array([0.0, 0, 1]), np.arange(3), seed=0) == []


def test_noise_is_given_the_strongest_ridge() -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(40) % 2).astype(float)
    folds = inner_folds(y, np.arange(40), seed=0)
    noise = ridge_logits(
        [], rng.normal(size=(40, 30)), y, folds, rng.normal(size=(20, 30))
    ).held_out
    x = y[:, None] + 0.1 * rng.normal(size=(40, 1))
    signal = ridge_logits([], x, y, folds, np.array([[0.0], [1.0]])).held_out
    assert np.abs(noise).max() < 0.5
    assert signal[1] - signal[0] > 3


def test_a_patient_on_both_sides_is_refused(make_cohort: Any) -> None:
    store, bags = make_cohort()
    table = bags.table.copy()
    table["patient"] = np.arange(24) // 2
    with pytest.raises(ValueError, match="both sides of fold 4"):
        cross_validate_baselines(
            [BatchOnly()],
            store,
            replace(bags, table=table),
            [Fold(0, 4, np.arange(17), np.arange(17, 24))],
            seed=0,
        )


def test_every_shipped_baseline_is_configured() -> None:
    path = Path(__file__).parents[2] / "configs/baselines/default.yaml"
    targets = {entry["_target_"] for entry in yaml.safe_load(path.read_text()).values()}
    shipped = {
        f"{package.__name__}.{name}"
        for name in package.__all__
        if isinstance(getattr(package, name), type)
        and issubclass(getattr(package, name), Baseline)
        and getattr(package, name) is not Baseline
    }
    assert targets == shipped


def test_missing_covariates_are_told_apart_and_unknown_levels_are_none(make_cohort: Any) -> None:
    store, bags = make_cohort()
    patients = store.patients.assign(
        marker=np.where(np.arange(24) % 2 == 0, 1.0, np.nan),  # missing in all negative patients
        level=np.where(np.arange(24) % 2 == 0, "yes", None),
    )
    patients.loc[patients.index[22:], "level"] = "new"
    told = replace(store, patients=patients)
    train, test = np.arange(18), np.arange(18, 24)
    y = bags.table["label"].to_numpy()[test]
    by_marker = ClinicalOnly(["marker"]).fit_predict(told, bags, train, test, seed=0).held_out
    assert roc_auc_score(y, by_marker) == 1.0
    by_level = ClinicalOnly(["level"]).fit_predict(told, bags, train, test, seed=0).held_out
    assert roc_auc_score(y[:4], by_level[:4]) == 1.0
    assert by_level[4] == by_level[5]


def test_covariates_are_named_or_left_out_with_the_reason(make_cohort: Any) -> None:
    store, bags = make_cohort()
    assert "no covariates are named" in ClinicalOnly().lacking(store, bags)
    together = CompositionWithClinical(Composition(), ClinicalOnly())
    assert "no covariates are named" in together.lacking(store, bags)
    assert ClinicalOnly(["age", "stage"], "response").lacking(store, bags) == ""
    with pytest.raises(InputError, match="no such covariate"):
        ClinicalOnly(["age", "height"]).lacking(store, bags)


def test_the_endpoint_and_its_twins_are_no_covariates(make_cohort: Any) -> None:
    store, bags = make_cohort(clinical=20.0)
    y = np.arange(24) % 2 == 0
    patients = store.patients.assign(
        outcome=np.where(y, "responder", None),  # known of one class only: the gap says the rest
        best=np.where(y, np.where(np.arange(24) < 9, "CR", "PR"), "PD"),
        nearly=np.where(np.arange(24) == 5, True, y),
        name=[f"N{i}" for i in range(24)],
        site="A",
    )
    patients.loc[patients.index[:2], "best"] = None
    told = replace(store, patients=patients)
    # separated without being a recoding: age by its size, a name by being unique
    assert ClinicalOnly(["age", "nearly", "name", "site"]).lacking(told, bags) == ""
    named = ["response", "best", "outcome", "height"]
    with pytest.raises(InputError) as caught:
        ClinicalOnly(named, "response").lacking(told, bags)
    found = {problem.column: problem for problem in caught.value.problems}
    assert set(found) == set(named)
    assert "is the endpoint" in found["response"].what
    assert "gives the endpoint away" in found["best"].what
    assert "gives the endpoint away" in found["outcome"].what
    # by its content alone, under another name
    with pytest.raises(InputError, match="gives the endpoint away"):
        ClinicalOnly(["response"], "durable_response").lacking(told, bags)


def test_a_baseline_is_calibrated_as_a_member_is(make_cohort: Any) -> None:
    store, bags = make_cohort(clinical=1.0)
    labels = bags.table["label"].to_numpy()
    folds = _folds(labels)
    baseline = ClinicalOnly(["age"])
    table = cross_validate_baselines([baseline], store, bags, folds, seed=0)
    for fold in folds:
        own = table[table["fold"] == fold.fold]
        seed = int(np.random.SeedSequence([0, 0, fold.fold]).generate_state(1)[0])
        found = baseline.fit_predict(store, bags, fold.development, fold.held_out, seed)
        face, groups = labels[fold.development], bag_groups(bags, fold.development)
        rule = fit_decision_rule(found.inner, face, groups)
        assert rule.calibrated
        np.testing.assert_allclose(own["threshold"], face.mean())
        np.testing.assert_allclose(own["probability"], expit(rule.log_odds(found.held_out)))


def test_two_baselines_of_a_fold_cluster_once(make_cohort: Any, monkeypatch: Any) -> None:
    store, bags = make_cohort()
    calls = []
    fit = CellClusters._fit
    monkeypatch.setattr(CellClusters, "_fit", lambda *a: calls.append(1) or fit(*a))
    settings = {"clusters": 4, "components": 4}
    folds = _folds(bags.table["label"].to_numpy())
    both = [Composition(**settings), ClusterMeans(**settings)]
    together = cross_validate_baselines(both, store, bags, folds, seed=0)
    assert len(calls) == len(folds)
    alone = cross_validate_baselines(both[1:], store, bags, folds, seed=0)
    own = together[together["model"] == "cluster means"]
    np.testing.assert_array_equal(own["logit"], alone["logit"])


@pytest.mark.parametrize("baseline", ALL, ids=lambda one: one.name)
def test_inner_folds_of_a_baseline_keep_blocks_whole(
    make_cohort: Any, baseline: Baseline, monkeypatch: Any
) -> None:
    store, bags = make_cohort(patients=24)
    blocked = with_blocks(bags, lambda codes: codes // 2)
    train, seen = np.arange(20), []
    module = sys.modules[type(baseline).__module__]

    def watched(y: Any, groups: Any, seed: int, endpoint: Any) -> Any:
        folds = inner_folds(y, groups, seed, endpoint)
        seen.extend(set(groups[fit]) & set(groups[check]) for fit, check in folds)
        assert len(set(groups)) == 10
        return folds

    monkeypatch.setattr(module, "inner_folds", watched)
    baseline.fit_predict(store, blocked, train, np.arange(20, 24), seed=0)
    assert seen
    assert not any(seen)


def test_a_baseline_has_as_many_models_as_the_head_for_a_group_of_features() -> None:
    head = yaml.safe_load((Path(__file__).parents[2] / "configs/head/prototypes.yaml").read_text())
    assert len(RIDGE_GRID) >= len(head["strengths"]) * len(SCREENS)
    assert head["inner_folds"] == INNER_FOLDS
