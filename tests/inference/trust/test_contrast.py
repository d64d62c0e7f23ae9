"""Samples that are said to be of another time point or tissue than they look like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recart.data.store import CohortStore
from recart.inference.trust.contrast import NO_CONTRAST, Contrast, kinds_told

BEFORE, AFTER, MARROW = "pre PB", "post PB", "post BM"


def profiles(kind: str, count: int, seed: int) -> np.ndarray[Any, Any]:
    """Five numbers of each sample: the first tells time points, the second tissues."""
    centre = np.array([2.0 * (kind != BEFORE), 2.0 * (kind == MARROW), 0, 0, 0])
    return centre + np.random.default_rng(seed).normal(0, 0.5, (count, 5))


@pytest.fixture
def contrast() -> Contrast:
    """Thirty samples of each of three kinds, of which those before infusion may be predicted."""
    kinds = (BEFORE, AFTER, MARROW)
    seen = np.concatenate([profiles(kind, 30, seed) for seed, kind in enumerate(kinds)])
    return Contrast.fit(seen, np.repeat(kinds, 30).tolist(), {BEFORE})


@pytest.mark.parametrize("kind", [BEFORE, AFTER, MARROW])
def test_what_is_said_wrongly_is_told(contrast: Contrast, kind: str) -> None:
    new = profiles(kind, 40, seed=9)
    for said in (BEFORE, AFTER, MARROW):
        odds = np.array([contrast.otherness(own, said) for own in new])
        assert ((odds < 0) if said == kind else (odds > 0)).mean() >= 0.9


def test_what_is_of_no_known_kind_is_compared_with_what_may_enter(contrast: Contrast) -> None:
    for own in profiles(AFTER, 5, seed=9):
        assert contrast.otherness(own, "") == contrast.otherness(own, BEFORE)


def test_what_was_not_measured_is_left_out(contrast: Contrast) -> None:
    own = profiles(AFTER, 1, seed=9)[0]
    blind = np.where(np.arange(5) == 0, np.nan, own)
    assert np.isfinite(contrast.otherness(blind, BEFORE))
    # what told the two time points apart is gone
    assert contrast.otherness(blind, BEFORE) < contrast.otherness(own, BEFORE) - 2
    lacking = np.where(np.arange(5) == 4, np.nan, profiles(BEFORE, 60, seed=1))
    lacking[30:] = np.where(np.arange(5) == 4, np.nan, profiles(AFTER, 30, seed=2))
    never = Contrast.fit(lacking, [BEFORE] * 30 + [AFTER] * 30, {BEFORE})
    assert never.otherness(own, BEFORE) > 0
    assert never.otherness(own, BEFORE) == never.otherness(np.append(own[:4], 7.0), BEFORE)


def test_of_one_kind_of_sample_nothing_can_be_said() -> None:
    one = Contrast.fit(profiles(BEFORE, 30, 0), [BEFORE] * 30, {BEFORE})
    few = Contrast.fit(profiles(BEFORE, 30, 0), [BEFORE] * 27 + [AFTER] * 3, {BEFORE})
    for own in (one, few, NO_CONTRAST):
        assert np.isnan(own.otherness(np.zeros(5), BEFORE))


def test_it_is_kept_as_it_was(contrast: Contrast) -> None:
    again = Contrast.from_plain(contrast.plain())
    own = profiles(AFTER, 1, seed=9)[0]
    assert again.otherness(own, BEFORE) == contrast.otherness(own, BEFORE)


def test_the_table_and_the_cells_are_read_sample_by_sample(
    make_store: Callable[..., CohortStore],
) -> None:
    store = make_store(patients=2, cells=20)
    words = [f"t{s}" for s in range(len(store.samples))]
    store = replace(store, samples=store.samples.assign(timepoint=words, tissue="PB"))
    umi = (np.arange(len(store.cells)) % 4 == 0).astype(np.int32)
    store = replace(store, cells=store.cells.assign(car_umi=umi))
    slices = [store.sample_slice(1), store.sample_slice(0)]
    told = kinds_told(store, slices)
    assert [own.kind for own in told] == ["t1 PB", "t0 PB"]
    assert told[1].place.start == told[0].place.stop == slices[0].stop - slices[0].start
    assert told[0].car == pytest.approx((umi[slices[0]] > 0).mean())
    without = replace(store, cells=store.cells.drop(columns="car_umi"))
    assert np.isnan(kinds_told(without, slices)[0].car)
