"""Cumulative logit: at its minimum, as statsmodels finds it, also where a level is absent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor

from recart.models.cumulative_logit import fit_cumulative_logit, level_log_probabilities
from recart.models.ridge_logistic import fit_ridge_logistic

LEVELS = 4
STRENGTHS = torch.tensor([0.01, 1.0, 30.0], dtype=torch.float64)


def problems(n: int, f: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n + f)
    x = torch.randn(3, n, f, generator=generator, dtype=torch.float64)
    slope = torch.tensor([0.0, 0.7, 3.0], dtype=torch.float64)
    u = torch.rand(3, n, generator=generator, dtype=torch.float64)
    latent = slope[:, None] * x[..., 0] + torch.logit(u)
    y = torch.bucketize(latent, torch.tensor([-1.0, 0.2, 1.5], dtype=torch.float64))
    weight = torch.ones(3, n, dtype=torch.float64)
    weight[:, -4:] = 0.0
    return x, y, weight


def objective(
    beta: Tensor, x: Tensor, y: Tensor, weight: Tensor, strength: float, levels: int = LEVELS
) -> Tensor:
    f = x.shape[-1]
    log_p = level_log_probabilities(x @ beta[:f], beta[f:].expand(len(x), -1))
    own = log_p.gather(-1, y[:, None]).squeeze(-1)
    assert log_p.shape[-1] == levels
    return -(weight * own).sum() + 0.5 * strength * beta[:f].square().sum()


@pytest.mark.parametrize(("n", "f"), [(60, 3), (24, 50)])
def test_gradient_vanishes_at_every_strength(n: int, f: int) -> None:
    x, y, weight = problems(n, f)
    coefficients, cuts = fit_cumulative_logit(x, y, weight, STRENGTHS.expand(3, -1), LEVELS)
    assert coefficients.shape == (3, 3, f)
    assert bool((cuts[..., 1:] < cuts[..., :-1]).all())
    for q in range(3):
        for s, strength in enumerate(STRENGTHS.tolist()):
            beta = torch.cat((coefficients[q, s], cuts[q, s])).requires_grad_()
            objective(beta, x[q], y[q], weight[q], strength).backward()
            assert beta.grad is not None
            assert beta.grad.abs().max() < 1e-3


def test_the_probabilities_by_finite_differences() -> None:
    """Of the log probabilities that are summed: against the plain formula and its slope."""
    cuts = torch.tensor([1.3, 0.1, -0.9], dtype=torch.float64)
    eta = torch.tensor([-2.0, 0.3, 5.0], dtype=torch.float64)
    above = expit(eta[:, None].numpy() + cuts.numpy())
    plain = -np.diff(np.hstack([np.ones((3, 1)), above, np.zeros((3, 1))]), axis=1)
    found = level_log_probabilities(eta, cuts.expand(3, -1))
    np.testing.assert_allclose(found.exp().numpy(), plain, rtol=1e-10)
    h = 1e-5
    shifted = [level_log_probabilities(eta + d, cuts.expand(3, -1)) for d in (h, -h)]
    leaf = eta.clone().requires_grad_()
    level_log_probabilities(leaf, cuts.expand(3, -1))[:, 1].sum().backward()
    assert leaf.grad is not None
    np.testing.assert_allclose(leaf.grad, ((shifted[0] - shifted[1]) / (2 * h))[:, 1], rtol=1e-6)


def test_as_statsmodels_without_a_ridge() -> None:
    model = pytest.importorskip("statsmodels.miscmodels.ordinal_model")
    x, y, weight = problems(120, 2)
    coefficients, cuts = fit_cumulative_logit(
        x[1:2], y[1:2], weight[1:2], torch.full((1, 1), 1e-9, dtype=torch.float64), LEVELS
    )
    rows = weight[1] > 0
    fit = model.OrderedModel(y[1][rows].numpy(), x[1][rows].numpy(), distr="logit").fit(
        # its slopes are differences of losses: what these reach below that depends on the processor
        method="bfgs",
        disp=False,
        gtol=1e-6,
    )
    thresholds = fit.model.transform_threshold_params(fit.params)[1:-1]
    np.testing.assert_allclose(coefficients[0, 0], fit.params[:2], atol=1e-4)
    np.testing.assert_allclose(cuts[0, 0], -thresholds, atol=1e-4)


def test_as_a_plain_minimiser_with_a_ridge() -> None:
    x, y, weight = problems(60, 3)
    found = torch.cat(
        [
            part[0, 0]
            for part in fit_cumulative_logit(
                x[1:2], y[1:2], weight[1:2], torch.full((1, 1), 2.0), LEVELS
            )
        ]
    )

    def value(free: np.ndarray) -> float:
        steps = np.concatenate([free[3:4], -np.exp(free[4:])])
        cuts = np.cumsum(steps)
        above = expit((x[1].numpy() @ free[:3])[:, None] + cuts)
        edges = np.hstack([np.ones((60, 1)), above, np.zeros((60, 1))])
        p = -np.diff(edges, axis=1)[np.arange(60), y[1].numpy()]
        return float(-(weight[1].numpy() * np.log(p)).sum() + free[:3] @ free[:3])

    best = minimize(value, np.zeros(6), method="BFGS", options={"gtol": 1e-7}).x
    cuts = np.cumsum(np.concatenate([best[3:4], -np.exp(best[4:])]))
    np.testing.assert_allclose(found, np.concatenate([best[:3], cuts]), atol=1e-4)


def test_two_levels_are_ridge_logistic() -> None:
    x, y, weight = problems(40, 3)
    binary = (y > 1).long()
    ours = fit_cumulative_logit(x, binary, weight, STRENGTHS.expand(3, -1), 2)
    theirs = fit_ridge_logistic(x, binary.double(), weight, STRENGTHS.expand(3, -1))
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours[1].squeeze(-1), theirs[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("absent", [0, 1, 3])
def test_an_absent_level_keeps_a_small_probability_and_moves_no_other_problem(absent: int) -> None:
    x, y, weight = problems(60, 3)
    y[1] = torch.where(y[1] == absent, 2, y[1])
    coefficients, cuts = fit_cumulative_logit(x, y, weight, STRENGTHS.expand(3, -1), LEVELS)
    p = level_log_probabilities(torch.zeros(3, dtype=torch.float64), cuts[1]).exp()
    assert bool((p[:, absent] > 0.001).all())
    assert bool((p[:, absent] < 0.05).all())
    alone = fit_cumulative_logit(x[:1], y[:1], weight[:1], STRENGTHS[None], LEVELS)
    torch.testing.assert_close(coefficients[:1], alone[0], atol=1e-10, rtol=1e-8)


def test_one_level_is_refused() -> None:
    x, y, weight = problems(20, 2)
    with pytest.raises(ValueError, match="two levels"):
        fit_cumulative_logit(x, torch.full_like(y, 2), weight, STRENGTHS.expand(3, -1), LEVELS)
