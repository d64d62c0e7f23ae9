"""Prediction sets: counted by hand, valid by simulation, and honest about few patients."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recart.inference.trust.conformal import LEVELS, ConformalSets, set_words
from recart.training.endpoints import SurvivalEndpoint

SURVIVAL = SurvivalEndpoint(time="pfs", event="event", months=[12.0], landmark=12.0)


def predictions(
    logits: np.ndarray, y: np.ndarray, folds: np.ndarray, patients: list[str] | None = None
) -> pd.DataFrame:
    """One repeat: each bag under the member of its fold."""
    bags = [f"b{n}" for n in range(len(y))]
    return pd.DataFrame(
        {
            "bag": bags,
            "patient": patients or bags,
            "member": [f"m{k}" for k in folds],
            "y": y,
            "logit": logits,
        }
    )


def test_a_p_value_counts_who_is_as_strange_under_the_member_that_did_not_see_him() -> None:
    logits = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 3.0])
    y = np.array([0, 0, 0, 1, 1, 1])
    sets = ConformalSets.fit(predictions(logits, y, np.array([0, 1, 0, 1, 0, 1])))
    # members 0 and 1 say -0.5 and 2.5 of the new patient
    p = sets.p_values(np.array([[-0.5], [2.5]]))
    # class 0: of -2 and 0 (member 0) 0 is at least -0.5; of -1 (member 1) none is at least 2.5
    assert p[0, 0] == pytest.approx((1 + 1) / 4)
    # class 1: 2 (member 0) is not as low as -0.5; of 1 and 3 (member 1) 1 is as low as 2.5
    assert p[1, 0] == pytest.approx((1 + 1) / 4)


def test_repeats_are_averaged_over_the_members_that_held_a_patient_out() -> None:
    y = np.array([0, 1, 0, 1])
    first = predictions(np.array([0.0, 1.0, 2.0, 3.0]), y, np.array([0, 0, 1, 1]))
    second = predictions(np.array([2.0, 3.0, 4.0, 5.0]), y, np.array([2, 3, 2, 3]))
    sets = ConformalSets.fit(pd.concat([first, second]))
    np.testing.assert_allclose(sets.logits, [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(sets.unseen.sum(axis=1), 1.0)
    new = np.array([[10.0], [0.0], [-2.0], [0.0]])
    # bag 0 of class 0 is compared with the mean of members 0 and 2 (4), bag 2 with 1 and 2 (-1)
    assert sets.p_values(new)[0, 0] == pytest.approx((1 + 1) / 3)


def test_several_bags_of_a_patient_count_as_one() -> None:
    y = np.array([0, 0, 0, 1])
    table = predictions(np.array([5.0, 5.0, -5.0, 0.0]), y, np.zeros(4, int), ["a", "a", "b", "c"])
    sets = ConformalSets.fit(table)
    assert (sets.patients(0), sets.patients(1)) == (2, 1)
    assert sets.p_values(np.array([[0.0]]))[0, 0] == pytest.approx((1 + 1) / 3)


def test_an_unknown_answer_is_no_reference() -> None:
    y = np.array([0, 1, -1])
    sets = ConformalSets.fit(predictions(np.array([-1.0, 1.0, 9.0]), y, np.zeros(3, int)))
    assert len(sets.logits) == 2


def test_few_patients_of_a_class_give_full_sets_and_it_is_said() -> None:
    y = np.array([0] * 8 + [1] * 4)
    sets = ConformalSets.fit(predictions(np.where(y, 1.0, -1.0), y, np.zeros(12, int)))
    far = np.array([[-50.0, 50.0]])
    # 8 patients of a class are too few for 90 %, 4 enough for 80 %
    response = set_words(("CR", "non-CR"))
    assert sets.sets(far, 0.9, response) == ["{R, NR}: cannot say"] * 2
    assert sets.too_few(0.9, response) == ["R", "NR"]
    assert sets.sets(far, 0.8, response) == ["{NR}", "{R}"]
    assert sets.too_few(0.8, response) == []
    # who progresses is no responder
    survival = set_words(SURVIVAL.classes)
    assert sets.sets(far, 0.8, survival) == ["{none}", "{event}"]
    assert sets.too_few(0.9, survival) == ["event", "none"]


def test_a_patient_like_neither_class_is_told_so() -> None:
    y = np.repeat([0, 1], 20)
    sets = ConformalSets.fit(predictions(np.where(y, 9.0, -9.0), y, np.zeros(40, int)))
    assert sets.sets(np.array([[0.0]]), 0.8, ("R", "NR")) == ["{}: like neither"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("n", [20, 80])
def test_both_classes_are_covered_where_members_differ_in_scale(level: float, n: int) -> None:
    rng = np.random.default_rng(1)
    y = np.arange(n) % 3 == 0  # a third is positive
    folds = rng.permutation(n) % 5
    held = np.zeros((2, 2))
    for _ in range(100):
        scale, shift = rng.gamma(4, size=5), rng.normal(size=5)

        def say(value: np.ndarray, member: np.ndarray) -> np.ndarray:
            return scale[member] * value + shift[member]  # noqa: B023 -- called at once

        truth = rng.normal(size=n) + y
        sets = ConformalSets.fit(predictions(say(truth, folds), y.astype(int), folds))
        label = np.arange(40) % 2
        new = rng.normal(size=40) + label
        names = [int(name[1:]) for name in sets.members]
        told = sets.holds([say(new, np.full(40, k)) for k in names], level)
        held += [(told[k, label == k].sum(), (label == k).sum()) for k in (0, 1)]
    assert (held[:, 0] / held[:, 1] >= level - 0.03).all()


def test_plain_content_gives_the_same_sets() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(30) % 2
    sets = ConformalSets.fit(predictions(rng.normal(size=30) + y, y, rng.integers(0, 5, 30)))
    again = ConformalSets.from_plain(sets.plain())
    new = rng.normal(size=(len(sets.members), 7))
    np.testing.assert_array_equal(again.p_values(new), sets.p_values(new))
    # a patient alone is the patient among others
    np.testing.assert_array_equal(sets.p_values(new[:, 3:4]), sets.p_values(new)[:, 3:4])


@pytest.mark.slow
def test_the_shipped_head_covers_new_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib
    from pathlib import Path

    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    benchmark = importlib.import_module("conformal_coverage")
    cached = importlib.import_module("cached_cohorts")
    pool = cached.Pool.simulate(1500, 0.6, 5)
    drawn = list(cached.cohorts(pool, 20, 60, 2, 5, newcomers=30))
    for level in LEVELS:
        found = benchmark.measure(pool.y, drawn, level)
        # patients of one cohort share its reference: a standard error is some .015
        assert min(found.covered) >= level - 0.05
        assert found.single > (0.15 if level < 0.9 else 0.02)
