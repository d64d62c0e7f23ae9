"""Cox regression: at its minimum, where scikit-survival and statsmodels find it."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from recart.models.cox import breslow_hazard, fit_cox, log_partial_likelihood

STRENGTHS = torch.tensor([0.1, 1.0, 30.0], dtype=torch.float64)


def problems(n: int, f: int, tied: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(n + f)
    x = rng.normal(size=(3, n, f))
    slope = np.array([0.0, 0.7, 2.0])[:, None]
    time = rng.exponential(np.exp(-slope * x[..., 0])) * 10
    censored = rng.exponential(15, size=(3, n))
    observed = np.minimum(time, censored)
    if tied:
        observed = np.ceil(observed)
    y = np.stack([observed, time <= censored], axis=-1)
    weight = np.ones((3, n))
    weight[:, -4:] = 0
    return torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(weight)


def plain(eta: np.ndarray, time: np.ndarray, event: np.ndarray) -> float:
    """Log likelihood without ties, written out."""
    at_risk = [np.exp(eta[time >= t]).sum() for t in time]
    return float((event * (eta - np.log(at_risk))).sum())


def test_the_likelihood_as_written_out() -> None:
    x, y, weight = problems(40, 2, tied=False)
    eta = x[..., 0]
    found = log_partial_likelihood(eta, y, weight)
    for q in range(3):
        own = weight[q].numpy() > 0
        wanted = plain(eta[q].numpy()[own], *(y[q].numpy()[own].T))
        assert float(found[q]) == pytest.approx(wanted, rel=1e-12)


def test_two_tied_events_count_in_both_orders() -> None:
    eta = torch.tensor([[0.4, -0.2, 0.1, 0.0, 0.3, -0.6]], dtype=torch.float64)
    hazard = np.exp(eta[0].numpy())
    y = torch.tensor([[[1, 1], [1, 1], *[[2, 0]] * 4]], dtype=torch.float64)
    orders = [
        hazard[a] / hazard.sum() * hazard[b] / (hazard.sum() - hazard[a])
        for a, b in permutations((0, 1))
    ]
    found = float(log_partial_likelihood(eta, y, torch.ones(1, 6))[0])
    assert found == pytest.approx(np.log(np.sum(orders)), abs=1e-6)


@pytest.mark.parametrize(("n", "f"), [(60, 3), (24, 50)])
def test_gradient_vanishes_at_every_strength(n: int, f: int) -> None:
    x, y, weight = problems(n, f)
    coefficients = fit_cox(x, y, weight, STRENGTHS.expand(3, -1))
    assert coefficients.shape == (3, 3, f)
    for s, strength in enumerate(STRENGTHS):
        beta = coefficients[:, s].clone().requires_grad_()
        eta = (x @ beta.unsqueeze(-1)).squeeze(-1)
        loss = 0.5 * strength * beta.square().sum() - log_partial_likelihood(eta, y, weight).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        assert beta.grad is not None
        assert beta.grad.abs().max() < 1e-3


def test_gradient_by_finite_differences() -> None:
    x, y, weight = problems(30, 2)
    beta = torch.tensor([0.3, -0.4], dtype=torch.float64, requires_grad=True)
    log_partial_likelihood(x @ beta, y, weight).sum().backward()  # type: ignore[no-untyped-call]
    h = 1e-5
    for j in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[j] = h
        up, down = (
            float(log_partial_likelihood(x @ (beta.detach() + d), y, weight).sum())
            for d in (step, -step)
        )
        assert beta.grad is not None
        assert float(beta.grad[j]) == pytest.approx((up - down) / (2 * h), rel=1e-6)


def test_as_statsmodels_without_a_ridge() -> None:
    hazards = pytest.importorskip("statsmodels.duration.hazard_regression")
    x, y, weight = problems(80, 2, tied=False)
    found = fit_cox(x, y, weight, torch.full((3, 1), 1e-9, dtype=torch.float64))
    for q in range(3):
        own = weight[q] > 0
        model = hazards.PHReg(y[q, own, 0].numpy(), x[q, own].numpy(), y[q, own, 1])
        np.testing.assert_allclose(found[q, 0], model.fit().params, atol=1e-4)


def test_as_scikit_survival_with_a_ridge() -> None:
    linear = pytest.importorskip("sksurv.linear_model")
    x, y, weight = problems(80, 2, tied=False)
    found = fit_cox(x, y, weight, torch.full((3, 1), 3.0, dtype=torch.float64))
    times = torch.tensor([2.0, 6.0, 12.0])
    hazard = breslow_hazard((x @ found.mT).squeeze(-1), y, weight, times)
    for q in range(3):
        own = weight[q].numpy() > 0
        outcome = np.array(
            [(bool(e), t) for t, e in y[q].numpy()[own]], dtype=[("event", bool), ("time", float)]
        )
        # its penalty is that of the sum, as ours; without ties all methods are one
        model = linear.CoxPHSurvivalAnalysis(alpha=3.0, ties="efron", n_iter=100, tol=1e-12)
        model.fit(x[q].numpy()[own], outcome)
        np.testing.assert_allclose(found[q, 0], model.coef_, atol=1e-4)
        theirs = [f(times.numpy()) for f in model.predict_survival_function(x[q].numpy()[own][:5])]
        eta = (x[q][own][:5] @ found[q, 0]).numpy()
        ours = np.exp(-np.exp(eta)[:, None] * hazard[q].numpy())
        np.testing.assert_allclose(ours, np.stack(theirs), atol=1e-3)


def test_together_equals_alone_and_nobody_progressed_is_refused() -> None:
    x, y, weight = problems(40, 3)
    together = fit_cox(x, y, weight, STRENGTHS.expand(3, -1))
    alone = fit_cox(x[1:2], y[1:2], weight[1:2], STRENGTHS[None])
    torch.testing.assert_close(together[1:2], alone, atol=1e-10, rtol=1e-8)
    y[2, :, 1] = 0
    with pytest.raises(ValueError, match="all rows are censored"):
        fit_cox(x, y, weight, STRENGTHS.expand(3, -1))
