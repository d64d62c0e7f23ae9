"""Coverage, error rate and null of the shipped statistics, small: by the benchmarks' own code."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from recart.evaluation.baselines.ridge import inner_folds, ridge_logits

_SEED, _COHORTS, _PATIENTS, _REPEATS = 5, 60, 20, 2


@pytest.fixture(scope="module")
def benchmark() -> Iterator[Any]:
    """Imports a script of `benchmarks/` by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        yield importlib.import_module


@pytest.fixture(scope="module")
def cached(benchmark: Any) -> ModuleType:
    module: ModuleType = benchmark("cached_cohorts")
    return module


@pytest.fixture(scope="module")
def pool(cached: ModuleType) -> Any:
    return cached.Pool.simulate(1500, 0.6, _SEED)


@pytest.fixture(scope="module")
def drawn(cached: ModuleType, pool: Any) -> list[Any]:
    return list(cached.cohorts(pool, _PATIENTS, _COHORTS, _REPEATS, _SEED))


@pytest.mark.slow
def test_the_interval_covers_the_truth(benchmark: Any, drawn: list[Any]) -> None:
    found = benchmark("interval_coverage").measure(drawn)
    # three standard errors below 95 %
    assert found.shipped >= 0.95 - 3 * (0.95 * 0.05 / _COHORTS) ** 0.5
    # the widening is what does it, and it is not so wide that it says nothing
    assert found.plain < found.shipped
    assert found.width < 0.75
    # scores that are only centred by fold read .07 too low; the standard error is .018
    assert found.estimate == pytest.approx(found.truth, abs=0.05)


@pytest.mark.slow
def test_an_equally_good_baseline_rarely_differs(
    benchmark: Any, pool: Any, drawn: list[Any]
) -> None:
    type_one = benchmark("type_one")
    found = type_one.measure(pool, drawn, _SEED)
    assert found.head == pytest.approx(found.baseline, abs=0.01)
    # three standard errors above 5 %
    assert found.shipped <= 0.05 + 3 * (0.95 * 0.05 / _COHORTS) ** 0.5
    # the plain bootstrap is wrong in about a fifth
    assert found.bootstrap > found.shipped


@pytest.mark.slow
def test_noise_reads_a_half(benchmark: Any, cached: ModuleType) -> None:
    noise = cached.Pool.simulate(1500, 0.0, _SEED)
    found = benchmark("null_estimator").measure(
        list(cached.cohorts(noise, _PATIENTS, 150, _REPEATS, _SEED))
    )
    # scores that are only centred by fold read .44
    assert found.mean == pytest.approx(0.5, abs=3 * found.error)
    assert found.error < 0.02


@pytest.mark.slow
def test_a_signal_stays_inside_its_interval(benchmark: Any) -> None:
    # at least 90 % in the long run: fewer than 7 of 10 are one in eighty
    assert benchmark("planted").signal(10, 40) >= 7


@pytest.mark.slow
def test_planted_donors_are_found_and_hardly_any_others(benchmark: Any) -> None:
    for found, false, pairs in benchmark("planted").donors(10, (11,)):
        assert pairs > 200
        assert (found, false) == (10, 0)


def test_many_baselines_are_fitted_as_each_alone(benchmark: Any, pool: Any) -> None:
    module = benchmark("cached_baseline")
    x = module.composition(pool.y, 0.8, _SEED)
    rng = np.random.default_rng(_SEED)
    trained = []
    for number, size in enumerate((16, 20, 31)):
        rows = rng.permutation(len(pool.y))
        trained.append((rows[:size], rows[size : size + 5], number))
    for (train, test, number), found in zip(
        trained, module.fit_baselines(x, pool.y, trained), strict=True
    ):
        y = pool.y[train].astype(float)
        inner = inner_folds(y, np.arange(len(train)), number)
        alone = ridge_logits([("scale", StandardScaler())], x[train], y, inner, x[test]).held_out
        np.testing.assert_allclose(found, alone, rtol=0, atol=1e-10)


def test_cohorts_are_scored_together_as_each_alone(cached: ModuleType, pool: Any) -> None:
    alone, together = (
        next(iter(cached.cohorts(pool, _PATIENTS, count, _REPEATS, _SEED))) for count in (1, 3)
    )
    np.testing.assert_allclose(alone.scores.score, together.scores.score, rtol=0, atol=1e-6)
    assert alone.scores.table.index.equals(together.scores.table.index)
