"""Permutation test: who changes places with whom, and that p is what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recart.evaluation.assessment import assess
from recart.evaluation.claims import ClaimLevel
from recart.evaluation.permutation import (
    Permutation,
    RefitFold,
    permutation_test,
    permuted_outside,
    permuted_sources,
)
from recart.evaluation.predictions import aggregate
from recart.evaluation.ranked_bags import RankedBags


def _run(x: np.ndarray, y: np.ndarray, seed: int, k: int = 39) -> Permutation:
    """Nearest class mean, refitted in five folds."""
    fold = np.empty(len(y), dtype=int)
    rng = np.random.default_rng(seed)
    for label in (0, 1):
        rows = rng.permutation(np.flatnonzero(y == label))
        fold[rows] = np.arange(len(rows)) % 5
    rows = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(5)]

    def refit(train: np.ndarray, test: np.ndarray) -> Any:
        def of(labels: Sequence[np.ndarray]) -> np.ndarray:
            ways = [x[train][own == 1].mean(0) - x[train][own == 0].mean(0) for own in labels]
            return np.stack([(x[test] - x[train].mean(0)) @ way for way in ways])

        return of

    ids = [f"P{i:03d}" for i in range(len(y))]
    table = pd.DataFrame({"bag": ids, "patient": ids, "repeat": 0, "fold": fold, "y": y})
    table["member"], table["logit"] = "m", 0.0
    for train, test in rows:
        table.loc[test, "logit"] = refit(train, test)([y[train]])[0]
    table["probability"] = 1 / (1 + np.exp(-table["logit"]))
    folds = [
        RefitFold(repeat=0, fold=f, development=a, held_out=b, refit=refit(a, b))
        for f, (a, b) in enumerate(rows)
    ]
    return permutation_test(
        folds, rows, RankedBags.of_scores(aggregate(table, "m")), k=k, seed=seed
    )


def _cohort(effect: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    y = (np.arange(24) % 2 == 0).astype(int)
    x = np.random.default_rng(seed).normal(size=(24, 5))
    x[:, 0] += effect * y
    return x, y


def test_signal_has_the_least_p_there_is() -> None:
    found = _run(*_cohort(4.0, 0), seed=0)
    assert found.p == pytest.approx(1 / 40)
    assert found.null_mean == pytest.approx(0.5, abs=0.1)
    assert found.refitted == pytest.approx(found.observed)


@pytest.mark.slow
def test_noise_is_significant_no_more_often_than_it_says() -> None:
    p = [_run(*_cohort(0.0, seed), seed=seed, k=19).p for seed in range(40)]
    # at most 5 %; 6 of 40 would be three standard errors more
    assert np.mean(np.array(p) <= 0.05) < 0.15
    assert np.mean(p) == pytest.approx(0.5, abs=0.12)


def _observed(make: Any, **settings: Any) -> RankedBags:
    return RankedBags.of_scores(aggregate(make(**settings), "model"))


def _permuted(scores: RankedBags, *given: Any, **settings: Any) -> list[np.ndarray]:
    found = permuted_sources(scores, *given, **settings)
    return [scores.relabelled(own).targets for own in found]


def test_bags_of_a_patient_move_together(make_predictions: Any) -> None:
    scores = _observed(make_predictions, n=12, bags_per_patient=3)
    owner = scores.patient
    for y in _permuted(scores, [], k=20, seed=0):
        assert (pd.Series(y, index=owner).groupby(level=0).nunique() == 1).all()
        assert y.sum() == scores.targets.sum()


def test_labels_stay_within_their_block(make_predictions: Any) -> None:
    scores = _observed(make_predictions, n=20)
    site = np.arange(20) // 10
    found = _permuted(scores, [], k=20, seed=0, blocks=site)
    for y in found:
        assert y[:10].sum() == scores.targets[:10].sum()
    assert len({tuple(y) for y in found}) > 10


def test_every_fold_keeps_both_classes(make_predictions: Any) -> None:
    scores = _observed(make_predictions, n=8)
    development = np.arange(5)
    for y in _permuted(scores, [(development, np.arange(5, 8))], k=30, seed=0):
        assert min(y[development].sum(), (1 - y[development]).sum()) >= 2


def test_every_fold_keeps_two_groups_of_both_classes(make_predictions: Any) -> None:
    scores = _observed(make_predictions, n=20)
    library, development = np.arange(20) // 4, np.arange(12)  # three libraries of four patients
    member = [(development, np.arange(12, 20))]
    for y in _permuted(scores, member, k=60, seed=0, groups=library):
        for label in (0, 1):
            assert len(set(library[development][y[development] == label])) >= 2
    both = [*member, (np.arange(12, 20), development)]
    one = permutation_test([], both, scores, k=9, seed=0, groups=np.zeros(20))
    assert "two of each class (or groups" in one.refusal


def test_folds_of_one_patient_are_refused(make_predictions: Any) -> None:
    scores = _observed(make_predictions, n=6, bags_per_patient=2)
    rows = [np.flatnonzero(scores.patient == name) for name in dict.fromkeys(scores.patient)]
    alone = [(np.setdiff1d(np.arange(len(scores.bag)), own), own) for own in rows]
    assert "a single patient" in permutation_test([], alone, scores, k=9, seed=0).refusal


def test_pairs_are_refused(make_predictions: Any) -> None:
    scores = _observed(make_predictions, n=8)
    pairs = [(np.arange(2, 8), np.array([0, 1])), (np.arange(2, 8), np.array([0, 3]))]
    found = permutation_test([], pairs, scores, k=9, seed=0)
    assert found.p is None
    assert "pairs" in found.refusal


def test_an_outside_cohort_keeps_its_scores(make_predictions: Any) -> None:
    found = permuted_outside(_observed(make_predictions, effect=4.0), k=99, seed=0)
    assert found.p == 0.01
    assert found.null_mean == pytest.approx(0.5, abs=0.05)


def test_the_ladder_reads_p(make_predictions: Any) -> None:
    def level(p: float) -> Any:
        own = Permutation(p=p, k=199, observed=0.9, null_mean=0.5, null_sd=0.1)
        return assess(
            make_predictions(effect=3.0, n=60),
            {},
            endpoint="response",
            seed=0,
            n_resamples=100,
            permutation=own,
        ).claim

    assert level(0.05).level is ClaimLevel.NO_EVIDENCE
    assert level(0.005).level is ClaimLevel.SIGNAL
    assert "Permutation p 0.005" in level(0.005).text
    assert "predicts response" not in f"{level(0.05).headline} {level(0.05).text}".lower()
