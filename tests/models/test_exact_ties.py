"""Efron's ties against the exact likelihood of times that were rounded to months.

Exact is the mean over all orders in which tied events can have happened (Kalbfleisch & Prentice,
Biometrika 1973, 60), as the integral of DeLong, Guirguis & So (Biometrika 1994, 81).
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from recart.models.cox import fit_cox

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
            total += np.log(U_WEIGHTS @ inside.prod(axis=1))
    return total


def monthly(n: int, seed: int, slope: float = 0.8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three features and times to progression, half of them within the first year, in months."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    time = rng.exponential(15 * np.exp(-slope * x[:, 0] + 0.4 * x[:, 1]))
    end = rng.uniform(6, 36, n)
    return x, np.ceil(np.minimum(time, end)), (time <= end).astype(float)


def test_the_integral_is_the_mean_over_all_orders() -> None:
    rng = np.random.default_rng(0)
    for tied in (1, 2, 4):
        eta = rng.normal(size=tied + 5)
        hazard = np.exp(eta)
        time = np.r_[np.ones(tied), np.full(5, 2.0)]
        event = np.r_[np.ones(tied), np.zeros(5)]
        total = 0.0
        for order in permutations(range(tied)):
            left, product = hazard.sum(), 1.0
            for one in order:
                product *= hazard[one] / left
                left -= hazard[one]
            total += product
        assert exact_log_likelihood(eta, time, event) == pytest.approx(np.log(total), abs=1e-9)


@pytest.mark.parametrize(
    ("n", "seed", "tied"), [(24, 2, 5), (48, 48, 4), (96, 96, 9), (200, 200, 17)]
)
@pytest.mark.parametrize("strength", [0.1, 3.0])
def test_coefficients_of_monthly_times_are_the_exact_ones(
    n: int, seed: int, tied: int, strength: float
) -> None:
    x, time, event = monthly(n, seed)
    _, size = np.unique(time[event > 0], return_counts=True)
    assert size.max() == tied

    def loss(beta: np.ndarray) -> float:
        return 0.5 * strength * beta @ beta - exact_log_likelihood(x @ beta, time, event)

    exact = minimize(loss, np.zeros(3), tol=1e-9).x
    y = np.stack([time, event], axis=-1)
    given = (torch.from_numpy(own[None]) for own in (x, y, np.ones(n)))
    efron = fit_cox(*given, torch.tensor([[strength]], dtype=torch.float64))[0, 0].numpy()
    # .026 at most, of coefficients whose norm is .7 to 1.5
    assert np.abs(efron - exact).max() < 0.03 * np.linalg.norm(exact)
    assert np.corrcoef(x @ exact, x @ efron)[0, 1] > 0.9999
