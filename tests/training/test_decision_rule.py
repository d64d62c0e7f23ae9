"""The decision rule: the exact optimum, never a reversal, nothing fitted to a few patients."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit

from recart.training.decision_rule import DecisionRule, fit_decision_rule


def draw(seed: int, n: int = 40, slope: float = 1.0, shift: float = 0.0) -> tuple[np.ndarray, ...]:
    """Logits and labels drawn with log-odds `shift + slope * logit`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1.5, n)
    y = (rng.random(n) < expit(shift + slope * x)).astype(int)
    y[:10] = np.arange(10) % 2  # five of each class in any case
    return x, y, np.arange(n)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("slope", "shift"), [(0.3, 0.0), (1.0, 1.0), (3.0, -1.0), (-1.5, 0.3)])
def test_it_is_the_optimum_that_a_general_solver_finds(
    seed: int, slope: float, shift: float
) -> None:
    x, y, groups = draw(seed, slope=slope, shift=shift)

    def cost(v: np.ndarray) -> float:
        z = v[0] + v[1] * x
        return float((np.logaddexp(0, z) - y * z).sum() + 2 * v[0] ** 2 + 2 * (v[1] - 1) ** 2)

    # where the slope's bound holds, the prior's pull on it is a constant
    best = minimize(cost, [0.0, 1.0], bounds=[(None, None), (0, None)], tol=1e-12)
    rule = fit_decision_rule(x, y, groups)
    assert rule.calibrated
    assert rule.intercept == pytest.approx(best.x[0], abs=1e-4)
    assert rule.slope == pytest.approx(best.x[1], abs=1e-4)
    assert rule.slope >= 0


def test_logits_that_run_against_the_labels_are_silenced_not_turned() -> None:
    x, y, groups = draw(0, n=400, slope=-2.0)
    rule = fit_decision_rule(x, y, groups)
    assert rule.slope == 0
    assert np.ptp(rule.log_odds(x)) == 0
    # what is left is the prevalence, drawn a little to one half
    assert abs(rule.intercept) <= abs(logit(y.mean()))
    assert rule.intercept * logit(y.mean()) >= 0


def test_much_data_overrule_the_prior() -> None:
    x, y, groups = draw(1, n=20_000, slope=2.0, shift=-0.5)
    rule = fit_decision_rule(x, y, groups)
    assert (rule.slope, rule.intercept) == pytest.approx((2.0, -0.5), abs=0.1)


def test_too_few_patients_leave_the_logits_as_they_are() -> None:
    x = np.linspace(-3, 3, 12)
    y = (np.arange(12) >= 8).astype(int)
    rule = fit_decision_rule(x, y, np.arange(12))  # four positive patients
    assert rule == DecisionRule(threshold=4 / 12)
    np.testing.assert_array_equal(rule.log_odds(x), x)
    # twelve bags, but of two patients a class
    y = np.arange(12) % 2
    assert not fit_decision_rule(x, y, np.arange(12) % 4).calibrated


def test_the_threshold_is_the_share_of_positive_bags() -> None:
    x, y, groups = draw(2, shift=-1.0)
    assert fit_decision_rule(x, y, groups).threshold == pytest.approx(y.mean())


def test_it_comes_back_from_its_state() -> None:
    rule = fit_decision_rule(*draw(3))
    assert DecisionRule.restore(rule.state()) == rule
    assert all(type(value) in (float, bool) for value in rule.state().values())
