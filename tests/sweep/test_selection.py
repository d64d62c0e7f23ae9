"""What luck gives: the formula, and the simulated band on losses that are nothing but noise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recart.sweep.gain import gain_line
from recart.sweep.pruners import PercentilePruning
from recart.sweep.scores import TrialScore
from recart.sweep.selection import Selection, expected_extreme, selection


def test_the_terminals_line_says_gain_and_luck() -> None:
    rng = np.random.default_rng(2)
    noise = [drawn(rng) for _ in range(3)]
    gain, luck = (np.mean([getattr(own, name) for own in noise]) for name in ("gain", "by_chance"))
    line = gain_line(noise)
    assert f"choosing gained {gain:.3f} of inner loss" in line
    assert f"luck alone gives {luck:.3f} (95 %: " in line
    assert line.endswith("no more than luck explains")
    assert gain_line([drawn(rng, better=0.5)]).endswith(": more than luck explains")
    one = selection(scores(np.ones((1, 4))), [0, 1, 2, 3], seed=0)
    assert one is not None
    assert "what luck alone gives is not known" in gain_line([one])


@pytest.mark.parametrize(("count", "known"), [(1, 0.0), (2, 0.5642), (20, 1.8675), (100, 2.5076)])
def test_the_expected_extreme_is_the_tabled_one(count: int, known: float) -> None:
    assert expected_extreme(count) == pytest.approx(known, abs=2e-4)


def scores(loss_kn: np.ndarray) -> list[TrialScore]:
    return [
        TrialScore(
            trial=k,
            fold="f",
            state="complete",
            scores={"inner_loss": float(own.mean())},
            losses=[float(one) for one in own],
        )
        for k, own in enumerate(loss_kn)
    ]


def drawn(rng: np.random.Generator, better: float = 0.0) -> Selection:
    """20 configurations, 40 patients; each loss is the patient's own part and the trial's."""
    loss = 0.7 + 0.3 * rng.normal(size=(1, 40)) + 0.1 * rng.normal(size=(20, 40))
    loss[3] -= better
    found = selection(scores(loss), list(range(40)), seed=0)
    assert found is not None
    return found


def test_on_noise_the_gain_is_what_luck_gives() -> None:
    rng = np.random.default_rng(1)
    found = [drawn(rng) for _ in range(60)]
    gain = np.mean([own.gain for own in found])
    # what is drawn again from noise holds that noise once more: a third too much at most
    assert 0.8 * gain < np.mean([own.by_chance for own in found]) < 1.35 * gain
    assert 0.8 * gain < np.mean([own.by_formula for own in found]) < 1.35 * gain
    assert np.mean([own.gain <= own.high for own in found]) >= 0.9


def test_a_better_configuration_lies_beyond_the_band() -> None:
    found = drawn(np.random.default_rng(2), better=0.15)
    assert found.gain > found.high
    assert found.corrected > found.best


def test_bags_of_a_patient_are_drawn_together() -> None:
    rng = np.random.default_rng(3)
    loss = np.repeat(0.7 + 0.1 * rng.normal(size=(20, 10)), 4, axis=1)
    apart = selection(scores(loss), list(range(40)), seed=0)
    together = selection(scores(loss), list(np.repeat(np.arange(10), 4)), seed=0)
    assert apart is not None
    assert together is not None
    assert together.by_chance > 1.6 * apart.by_chance


def test_without_losses_of_bags_nothing_is_made_up() -> None:
    only = [TrialScore(trial=0, fold="f", state="complete", scores={"inner_loss": 0.5})]
    found = selection(only, [0, 1], seed=0)
    assert found is not None
    assert math.isnan(found.by_chance)
    assert selection([], [0, 1], seed=0) is None


def test_a_bar_needs_enough_finished_trials() -> None:
    pruner = PercentilePruning(percentile=50.0, rungs=[2, 4], at_least=3)
    curves = [{2: 0.9, 4: 0.5}, {2: 0.8}, {2: 0.7}]
    assert pruner.bars(curves) == {2: 0.8}
    assert pruner.bars(curves[:2]) == {}
