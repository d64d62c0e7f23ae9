"""Pairs, outside cohorts and single patients: each is evaluated as what it is."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from recart.data.split import Kind
from recart.evaluation.assessment import assess
from recart.evaluation.bootstrap import PatientBootstrap
from recart.evaluation.claims import ClaimLevel
from recart.evaluation.comparison import compare
from recart.evaluation.design import FoldDesign
from recart.evaluation.intervals import INFLATION, auroc_interval, delong_variance
from recart.evaluation.metrics import metrics
from recart.evaluation.needed_baselines import NEEDED
from recart.evaluation.outside import PLACE_COLUMNS, Place, place_of
from recart.evaluation.pairs import pair_auroc, pair_wins
from recart.evaluation.predictions import aggregate
from recart.models.ridge_logistic import fit_ridge_logistic
from recart.problems import InputError

PAIRS = FoldDesign(kind=Kind.PAIRS)
LEIDEN = Place(column="site", values=("Leiden",))
OUTSIDE = FoldDesign(kind=Kind.EXTERNAL, place=LEIDEN)
# held out for good, and nothing shows that they are of another place
SET_ASIDE = FoldDesign(kind=Kind.EXTERNAL)


def pair_table(score: Any, y: np.ndarray, owner: np.ndarray | None = None) -> pd.DataFrame:
    """Held-out pairs; `score(fold, bag)` is the logit of a bag under the fold's model."""
    owner = np.arange(len(y)) if owner is None else owner
    rows, fold = [], 0
    for a in range(owner.max() + 1):
        for b in range(a + 1, owner.max() + 1):
            own, other = np.flatnonzero(owner == a), np.flatnonzero(owner == b)
            crossing = any(y[i] != y[j] for i in own for j in other)
            if not crossing:
                continue
            for bag in (*own, *other):
                value = score(fold, bag)
                row = (f"B{bag:02d}", f"P{owner[bag]:02d}", 0, fold, f"r0f{fold}", y[bag], value)
                rows.append((*row, expit(value)))
            fold += 1
    columns = ["bag", "patient", "repeat", "fold", "member", "y", "logit", "probability"]
    return pd.DataFrame(rows, columns=columns)


def test_the_auroc_of_pairs_is_the_share_that_their_own_model_sets_right() -> None:
    y = np.array([1, 1, 1, 0, 0, 0, 0])
    rng = np.random.default_rng(0)
    # models far apart: over folds the logits say nothing, inside a pair they do
    offset = rng.normal(0, 100, 12)
    noise = rng.normal(0, 1, (12, 7)).round(0)
    table = pair_table(lambda fold, bag: offset[fold] + y[bag] + noise[fold, bag], y)
    right = [
        np.sign(own.loc[own["y"] == 1, "logit"].item() - own.loc[own["y"] == 0, "logit"].item())
        for _, own in table.groupby("fold")
    ]
    assert len(right) == 12
    assert 0.0 in np.round(right, 6)  # a tie counts one half
    scores = aggregate(table, "model", PAIRS)
    found = metrics(scores)
    assert found.auroc == pytest.approx(np.mean((np.round(right) + 1) / 2))
    assert found.auroc_fold_mean == found.auroc
    assert not found.folds_disagree
    assert (found.kind, found.n_folds) == ("pairs", 12)


def test_pairs_of_patients_with_several_bags_compare_bags_of_different_patients() -> None:
    """Patient 0 has both labels: its own two bags are never compared."""
    y, owner = np.array([1, 0, 1, 0, 0]), np.array([0, 0, 1, 2, 3])
    table = pair_table(lambda _, bag: float([9, 8, 1, 5, 0][bag]), y, owner)
    scores = aggregate(table, "model", PAIRS)
    wins, compared = pair_wins(scores)
    # positive bags 0 and 2, negative bags 1, 3 and 4
    np.testing.assert_array_equal(compared, [[0, 1, 1], [1, 1, 1]])
    np.testing.assert_array_equal(wins * compared, [[0, 1, 1], [0, 0, 1]])
    assert pair_auroc(scores) == pytest.approx(3 / 5)


def test_with_one_model_pairs_are_the_auroc_and_its_interval() -> None:
    """Where all models score alike, every pair is compared as the pooled ranking compares it."""
    rng = np.random.default_rng(1)
    y = (np.arange(24) < 10).astype(int)
    logits = rng.normal(size=24) + y
    scores = aggregate(pair_table(lambda _, bag: logits[bag], y), "model", PAIRS)
    assert metrics(scores).auroc == pytest.approx(roc_auc_score(y, logits))
    plain = aggregate(one_fold(y, logits), "model", OUTSIDE)
    boot = PatientBootstrap.draw(scores, 0, 200)
    np.testing.assert_allclose(boot.draws("auroc", scores), boot.draws("auroc", plain))
    ours = auroc_interval(scores, inflation=1.0)
    whole = auroc_interval(plain)
    assert (ours.low, ours.high) == pytest.approx((whole.low, whole.high))
    wider = auroc_interval(scores)
    assert wider.width > whole.width  # pairs share their training patients


def one_fold(y: np.ndarray, logits: np.ndarray, repeat: int = 0) -> pd.DataFrame:
    names = [f"{i:02d}" for i in range(len(y))]
    return pd.DataFrame(
        {
            "bag": [f"B{name}" for name in names],
            "patient": [f"P{name}" for name in names],
            **{"repeat": repeat, "fold": 0, "member": f"r{repeat}f0"},
            "y": y,
            "logit": logits,
            "probability": expit(logits),
        }
    )


def noise_pairs(seed: int, strength: float) -> pd.DataFrame:
    """Leave-pair-out of a ridge logistic regression on features that say nothing."""
    rng = np.random.default_rng(seed)
    y = (np.arange(16) < 6).astype(int)
    x = rng.normal(size=(16, 8))
    pairs = [(a, b) for a in range(16) for b in range(a + 1, 16) if y[a] != y[b]]
    seen = np.ones((len(pairs), 16))
    for fold, pair in enumerate(pairs):
        seen[fold, list(pair)] = 0
    x_qnf = torch.from_numpy(x).expand(len(pairs), -1, -1)
    coefficients, intercepts = fit_ridge_logistic(
        x_qnf,
        torch.from_numpy(y.astype(float)).expand(len(pairs), -1),
        torch.from_numpy(seen),
        torch.full((len(pairs), 1), strength, dtype=torch.float64),
    )
    logits = (x @ coefficients[:, 0].numpy().T + intercepts[:, 0].numpy()).T
    return pair_table(lambda fold, bag: logits[fold, bag], y)


@pytest.mark.parametrize("strength", [1e5, 1.0])
def test_noise_gives_pairs_an_auroc_of_one_half(strength: float) -> None:
    """Where leave-one-out reads 0.00 to 0.31."""
    aurocs = [pair_auroc(aggregate(noise_pairs(seed, strength), "m", PAIRS)) for seed in range(30)]
    # the standard error of the mean of 30 is 0.03
    assert abs(np.mean(aurocs) - 0.5) < 0.09


def test_a_fold_of_pairs_that_is_none_is_refused() -> None:
    table = pair_table(lambda _, bag: float(bag), np.array([1, 1, 0, 0, 1, 0]))
    with pytest.raises(InputError, match="E-EVAL-021"):
        aggregate(table.assign(fold=0), "model", PAIRS)
    with pytest.raises(InputError, match="E-EVAL-007"):
        aggregate(table, "model")  # as a partition it is none


def outside_tables(effect: float = 2.0, n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    y = np.arange(n) % 2
    own = effect * (y - 0.5) + rng.normal(size=n)
    return pd.concat(
        [one_fold(y, own + 0.3 * rng.normal(size=n) + repeat, repeat) for repeat in range(5)],
        ignore_index=True,
    )


def test_an_outside_cohort_is_scored_by_the_mean_of_the_members() -> None:
    table = outside_tables()
    design = replace(OUTSIDE, prevalence={(r, 0): 0.3 for r in range(5)})
    scores = aggregate(table, "model", design)
    by_bag = table.groupby("bag")
    y, mean = by_bag["y"].first(), by_bag["logit"].mean()
    found = metrics(scores)
    assert found.auroc == pytest.approx(roc_auc_score(y, mean))
    np.testing.assert_allclose(scores.score, mean, atol=1e-8)  # not centred
    assert not found.folds_disagree
    brier = np.mean((expit(mean) - y) ** 2)
    assert found.brier_skill == pytest.approx(1 - brier / np.mean((0.3 - y) ** 2))
    auroc, variance = delong_variance(scores.y, scores.score)
    error = np.sqrt(variance) / (auroc * (1 - auroc))
    interval = auroc_interval(scores)
    assert logit(interval.high) - logit(auroc) == pytest.approx(1.959964 * error)
    assert interval.method == "logit DeLong, SE x 1"


def test_a_comparison_on_an_outside_cohort_is_not_widened() -> None:
    table, rival = outside_tables(), outside_tables(effect=0.5)
    model, baseline = aggregate(table, "m", OUTSIDE), aggregate(rival, "b", OUTSIDE)
    boot = PatientBootstrap.draw(model, 0, 500)
    found = compare(model, baseline, boot)
    draws = boot.draws("auroc", model) - boot.draws("auroc", baseline)
    assert found.interval.high - found.auroc == pytest.approx(1.959964 * draws.std(ddof=1))


def test_patients_set_aside_by_no_place_are_widened() -> None:
    table, rival = outside_tables(), outside_tables(effect=0.5)
    outside, aside = (aggregate(table, "m", design) for design in (OUTSIDE, SET_ASIDE))
    assert auroc_interval(aside).method == f"logit DeLong, SE x {INFLATION:g}"
    assert auroc_interval(aside).width > auroc_interval(outside).width
    boot = PatientBootstrap.draw(outside, 0, 500)
    widths = [
        compare(own, aggregate(rival, "b", design), boot).interval.width
        for own, design in ((outside, OUTSIDE), (aside, SET_ASIDE))
    ]
    assert widths[1] == pytest.approx(INFLATION * widths[0])


def test_a_place_is_a_column_that_names_places() -> None:
    samples = pd.DataFrame(
        {
            "patient": [0, 0, 1, 2, 3],
            "site": ["a", "a", "a", "b", "b"],
            "batch": ["1", "2", "1", "3", "4"],
            "study": ["x", "x", "x", "x", None],
        }
    )
    patients = pd.DataFrame({"hospital": ["u", "v", "v", "w"]})
    store: Any = SimpleNamespace(samples=samples, patients=patients)

    def place(*held_out: int, columns: tuple[str, ...] = PLACE_COLUMNS) -> Place | None:
        rest = [code for code in range(4) if code not in held_out]
        fold = SimpleNamespace(held_out=held_out, train=rest[:1], validation=rest[1:])
        split: Any = SimpleNamespace(kind=Kind.EXTERNAL, folds=[fold])
        return place_of(split, store, columns)

    assert place(2, 3) == Place(column="site", values=("b",))
    assert place(3) == Place(column="hospital", values=("w",))  # site b was trained on
    assert place(2) is None  # study is not known of everybody
    assert place(2, columns=("batch",)) is not None  # whoever says that a batch is a place
    samples["study"] = ["x", "x", "x", "y", "y"]
    assert place(2, 3, columns=("study", "site")) == Place(column="site", values=("b",))
    samples["site"] = "a"
    assert place(2, 3, columns=("study", "site")) is None  # two studies of one place
    assert place(2, 3, columns=("study",)) is not None
    samples["site"] = ["Site A", "Site A", "Site A", "site-a ", "SITE A"]
    assert place(2, 3, columns=("site",)) is None  # one place, written in three ways
    partition: Any = SimpleNamespace(kind=Kind.PARTITION, folds=[])
    assert place_of(partition, store, PLACE_COLUMNS) is None
    many = Place(column="site", values=("a", "b", "c", "d"))
    assert many.words == "site: a, b, c and 1 more"


def test_only_an_outside_cohort_reaches_the_highest_rung() -> None:
    table, rival = outside_tables(effect=4.0, n=80), outside_tables(effect=0.0, n=80)
    rivals = {names[0]: rival for names in NEEDED}
    outside = assess(table, rivals, endpoint="response", seed=0, n_resamples=200, design=OUTSIDE)
    assert outside.claim.level == max(ClaimLevel)
    assert "an outside cohort (site: Leiden)" in outside.claim.headline
    aside = assess(table, rivals, endpoint="response", seed=0, n_resamples=200, design=SET_ASIDE)
    assert aside.claim.level == ClaimLevel.BETTER
    assert "outside" not in aside.claim.headline
    assert "No column that names places" in aside.claim.text
    # of either kind nobody has measured how often the interval holds
    assert all("coverage" in own.claim.text for own in (outside, aside))
    folds = np.random.default_rng(0).permutation(np.arange(80) // 2 % 5)
    inside = [
        own.assign(fold=own["repeat"].map(lambda _: 0) + np.tile(np.repeat(folds[:40], 2), 5))
        for own in (table, rival)
    ]
    rivals = dict.fromkeys(rivals, inside[1])
    internal = assess(inside[0], rivals, endpoint="response", seed=0, n_resamples=200)
    assert internal.claim.level == ClaimLevel.BETTER
    assert "coverage" not in internal.claim.text


def test_single_patients_have_predictions_and_no_auroc() -> None:
    table = one_fold(np.arange(16) % 2, np.random.default_rng(0).normal(size=16))
    table["fold"] = np.arange(16)
    found = assess(table, {}, endpoint="response", seed=0, design=FoldDesign(kind=Kind.GROUPS))
    assert found.model.metrics.auroc is None
    assert "leave-one-out" in found.model.metrics.refusal
    assert found.model.scores.table["probability"].between(0, 1).all()
    assert found.claim.level == 0


def test_bags_are_called_by_the_thresholds_of_their_members(make_predictions: Any) -> None:
    table = make_predictions(n=30, repeats=2)
    table["threshold"] = np.where(table["repeat"] == 0, 0.2, 0.4)
    scores = aggregate(table, "model")
    # on the log-odds scale, as members are averaged
    over = logit(table["probability"]) - logit(table["threshold"])
    called = over.groupby(table["bag"]).mean() > 0
    np.testing.assert_array_equal(scores.called, called)
    assert scores.called.sum() > (scores.probability > 0.5).sum()
    found = metrics(scores)
    assert found.sensitivity == pytest.approx(called[scores.y == 1].mean())
    assert found.specificity == pytest.approx((~called[scores.y == 0]).mean())
    once = PatientBootstrap(np.ones((1, 30)))
    assert once.draws("sensitivity", scores)[0] == pytest.approx(found.sensitivity)
    assert once.draws("specificity", scores)[0] == pytest.approx(found.specificity)
    without = aggregate(table.drop(columns="threshold"), "model")
    np.testing.assert_array_equal(without.called, without.probability > 0.5)
