"""Association of one column with the endpoint: p-values are right, and separation has a meaning."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact, mannwhitneyu
from scipy.stats.contingency import association

from recart.evaluation.audit.association import (
    Permutations,
    cramers_v,
    holm,
    level_table,
    separation,
)


def columns(n: int = 24) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    y = np.arange(n) % 2
    return y, rng.normal(size=n) + 0.8 * y, np.array(list("abc"))[rng.integers(0, 3, n)]


def test_numbers_agree_with_mann_and_whitney() -> None:
    y, x, _ = columns()
    exact = mannwhitneyu(x[y == 1], x[y == 0], method="exact")
    found = Permutations.draw(y, 20_000).of_numbers(x)
    assert found == pytest.approx(exact.pvalue, abs=0.01)
    auroc = exact.statistic / 144
    assert separation(pd.Series(x), y.astype(float)) == pytest.approx(max(auroc, 1 - auroc))


def test_two_levels_take_fishers_test_and_three_agree_with_the_exact_one() -> None:
    y, _, levels = columns()
    two = np.where(levels == "a", "a", "b")
    draws = Permutations.draw(y, 20_000)
    table = level_table(two, y.astype(float))
    assert draws.of_levels(two) == pytest.approx(fisher_exact(table)[1])
    three = level_table(levels, y.astype(float))
    v = association(three, correction=False)
    assert cramers_v(levels, y.astype(float)) == pytest.approx(v)
    assert 0 < draws.of_levels(levels) <= 1


def test_many_levels_separate_by_hindsight_and_mean_nothing() -> None:
    y, _, _ = columns()
    names = pd.Series([f"id{i}" for i in range(len(y))])
    assert separation(names, y.astype(float)) == 1
    assert Permutations.draw(y, 999).of_levels(names.to_numpy()) == 1


def test_p_values_are_uniform_without_association() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(30) % 2
    draws = Permutations.draw(y, 999)
    p = [draws.of_numbers(rng.normal(size=30)) for _ in range(400)]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_blocks_of_one_class_are_seen_wherever_they_stand() -> None:
    y = np.repeat([0, 1, 0, 1], 8)
    draws = Permutations.draw(y, 999)
    assert draws.of_order(np.arange(32)) < 0.01
    assert draws.of_order(np.random.default_rng(0).permutation(32)) > 0.05


def test_holm() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "c": 0.06, "b": 0.06}
    )
