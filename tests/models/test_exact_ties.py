"""Tied events against the mean over all orders, and what Efron's approximation would cost.

Exact is the mean over all orders in which tied events can have happened (Kalbfleisch & Prentice,
Biometrika 1973, 60). The integral of DeLong, Guirguis & So (Biometrika 1994, 81) is taken here in
another variable than in `tied_events`.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from recart.models.cox import fit_cox
from recart.models.tied_events import log_probability, log_probability_derivatives

NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)
# u = v^6, so that powers of u below 1 are smooth at 0
V = (NODES + 1) / 2
U, U_WEIGHTS = V**6, 3 * V**5 * WEIGHTS


def exact_log_likelihood(eta: np.ndarray, time: np.ndarray, event: np.ndarray) -> float:
    """Log of the exact partial likelihood."""
    hazard, total = np.exp(eta), 0.0
    for t in np.unique(time[event > 0]):
        tied = (time == t) & (event > 0)
        later = hazard[(time >= t) & ~tied].sum()
        if later > 0:  # else all orders are the same
            log_u = np.log(U)[:, None]
            inside = -np.expm1(hazard[tied] / later * log_u)
            total += float(np.log(U_WEIGHTS @ inside.prod(axis=1)))
    return total


def visits(n: int, seed: int, months: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three features and times to progression, seen at visits that are `months` apart."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    time = rng.exponential(15 * np.exp(-0.8 * x[:, 0] + 0.4 * x[:, 1]))
    end = rng.uniform(6, 36, n)
    seen = np.ceil(np.minimum(time, end) / months) * months
    return x, seen, (time <= end).astype(float)


def fitted(x: np.ndarray, time: np.ndarray, event: np.ndarray, strength: float) -> np.ndarray:
    """Coefficients of one problem."""
    y = torch.from_numpy(np.stack([time, event], axis=-1))[None]
    weight = torch.ones(1, len(x), dtype=torch.float64)
    strengths = torch.tensor([[strength]], dtype=torch.float64)
    return fit_cox(torch.from_numpy(x)[None], y, weight, strengths)[0, 0].numpy()


def mean_over_orders(hazard: np.ndarray, later: float) -> float:
    """Probability that these events come before the others, over all orders of them."""
    total = 0.0
    for order in permutations(range(len(hazard))):
        left, product = float(hazard.sum()) + later, 1.0
        for one in order:
            product *= float(hazard[one]) / left
            left -= float(hazard[one])
        total += product
    return total


@pytest.mark.parametrize("tied", [1, 2, 3, 6])
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_the_probability_is_that_of_all_orders(tied: int, spread: float) -> None:
    rng = np.random.default_rng(tied)
    hazard, later = np.exp(spread * rng.normal(size=tied)), 2.5
    log_r = torch.from_numpy(np.log(hazard / later))[None]
    told = log_probability(log_r, torch.ones(1, tied, tied).double())
    assert float(told.sum()) == pytest.approx(np.log(mean_over_orders(hazard, later)), abs=1e-7)
    np.testing.assert_allclose(told[0], float(told.sum()) / tied)  # shared evenly


@pytest.mark.parametrize("tied", [2, 10, 50, 200])
@pytest.mark.parametrize("ratio", [1e-6, 1e-2, 1.0, 30.0])
def test_events_of_one_hazard_have_a_closed_form(tied: int, ratio: float) -> None:
    log_r = torch.full((1, tied), np.log(ratio), dtype=torch.float64)
    told = float(log_probability(log_r, torch.ones(1, tied, tied).double()).sum())
    number = np.arange(1, tied + 1) * ratio
    least = 1e-3 if tied > 10 and ratio > 1 else 1e-5
    assert told == pytest.approx(np.log(number / (1 + number)).sum(), rel=1e-7, abs=least)


def test_derivatives_are_those_of_the_value() -> None:
    rng = np.random.default_rng(1)
    time = torch.tensor([1, 1, 1, 2, 3, 3, 4])
    event = torch.tensor([1, 1, 1, 1, 1, 0, 1])
    tied = ((time[:, None] == time) * event * event[:, None]).double()[None]
    log_r = torch.from_numpy(rng.normal(size=7))

    def value(own: torch.Tensor) -> torch.Tensor:
        return (log_probability(own[None], tied) * event).sum()

    gradient, hessian = log_probability_derivatives(log_r[None], tied)
    known = event.double()
    jacobian = torch.autograd.functional.jacobian(value, log_r)
    second = torch.autograd.functional.hessian(value, log_r)
    torch.testing.assert_close(gradient[0] * known, jacobian, atol=1e-8, rtol=1e-8)
    both = hessian[0] * known * known[:, None]
    torch.testing.assert_close(both, second, atol=1e-7, rtol=1e-7)
    assert float(torch.linalg.eigvalsh(both).max()) <= 1e-9  # concave


@pytest.mark.parametrize(("n", "seed", "months"), [(24, 2, 1), (96, 96, 3), (96, 96, 6)])
@pytest.mark.parametrize("strength", [0.1, 3.0])
def test_coefficients_are_the_exact_ones(n: int, seed: int, months: int, strength: float) -> None:
    x, time, event = visits(n, seed, months)

    def loss(beta: np.ndarray) -> float:
        return 0.5 * strength * beta @ beta - exact_log_likelihood(x @ beta, time, event)

    exact = minimize(loss, np.zeros(3), tol=1e-9).x
    np.testing.assert_allclose(fitted(x, time, event, strength), exact, atol=2e-3)


def test_an_approximation_would_shrink_what_rare_visits_tell() -> None:
    hazards = pytest.importorskip("statsmodels.duration.hazard_regression")
    x, time, event = visits(200, 3, 6)
    efron = hazards.PHReg(time, x, event, ties="efron").fit().params
    assert np.linalg.norm(efron) < 0.95 * np.linalg.norm(fitted(x, time, event, 1e-9))
