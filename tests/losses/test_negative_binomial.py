"""The count likelihoods against the plain formula, torch.distributions and scvi-tools."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from recart.losses.negative_binomial import log_nb, log_nb_mixture, log_nb_sum, log_zinb

M, B, G = 2, 5, 7


def _counts(high: float = 4.0) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.poisson(
        torch.rand(M, B, G, generator=generator, dtype=torch.float64) * high, generator
    )
    x[:, 0] = 0.0  # a cell without any count
    return x


def _positive(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * 3 + 0.2


def _all(true: bool = True) -> Tensor:
    return torch.full((M, G), true)


def test_log_nb_is_the_distribution() -> None:
    x, mu, theta = _counts(), _positive(M, B, G, seed=1), _positive(M, B, G, seed=2)
    p = (theta / (theta + mu)).numpy()
    expected = stats.nbinom.logpmf(x.numpy(), theta.numpy(), p)
    np.testing.assert_allclose(log_nb(x, mu, theta).numpy(), expected, atol=1e-6)
    ours = torch.distributions.NegativeBinomial(total_count=theta, logits=(mu / theta).log())
    torch.testing.assert_close(log_nb(x, mu, theta), ours.log_prob(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rows", [1, B], ids=["theta-per-gene", "theta-per-cell"])
def test_sum_over_non_zeros_equals_the_plain_formula_with_gradients(rows: int) -> None:
    x, mask = _counts(), _all()
    mask[0, 2] = mask[1, 5] = False
    mu = _positive(M, B, G, seed=1).requires_grad_()
    theta = _positive(M, rows, G, seed=2).requires_grad_()
    upstream = _positive(M, B, seed=3)  # unequal weights, so that no row hides behind another

    plain = torch.where(mask.unsqueeze(1), log_nb(x, mu, theta), 0.0).sum(-1)
    expected = torch.autograd.grad((plain * upstream).sum(), (mu, theta))
    ours = log_nb_sum(x, mu, theta, mask)
    got = torch.autograd.grad((ours * upstream).sum(), (mu, theta))
    # the plain formula keeps x * 0 terms and lgamma(theta) - lgamma(theta) at x = 0
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-10)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert torch.all(got[0][0, :, 2] == 0)
    assert torch.all(got[1][1, :, 5] == 0)


@pytest.mark.parametrize("rows", [1, B])
def test_gradcheck_of_the_sum(rows: int) -> None:
    x, mask = _counts(), _all()
    mask[0, 0] = False
    mu = _positive(M, B, G, seed=4).requires_grad_()
    theta = _positive(M, rows, G, seed=5).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: log_nb_sum(x, a, b, mask), (mu, theta))


def test_gradcheck_of_zinb_and_mixture() -> None:
    x = _counts()
    mu, theta = (
        _positive(M, B, G, seed=1).requires_grad_(),
        _positive(M, B, G, seed=2).requires_grad_(),
    )
    logits = (_positive(M, B, G, seed=3) - 1.5).requires_grad_()
    other = (_positive(M, B, G, seed=4) + 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b, c: log_zinb(x, a, b, c), (mu, theta, logits))
    assert torch.autograd.gradcheck(
        lambda a, b, c, d: log_nb_mixture(x, a, b, c, d), (mu, other, theta, logits)
    )


def test_masked_genes_have_no_influence_at_all() -> None:
    x, mask = _counts(), _all()
    mask[:, 3] = False
    mu, theta = _positive(M, B, G, seed=1), _positive(M, 1, G, seed=2)
    before = log_nb_sum(x, mu, theta, mask)
    x[:, :, 3], mu[:, :, 3], theta[:, :, 3] = 1e5, 77.0, 0.01
    assert torch.equal(log_nb_sum(x, mu, theta, mask), before)
    assert torch.equal(log_nb_sum(x, mu, theta, _all(False)), torch.zeros(M, B).double())


def test_cells_without_counts() -> None:
    mu, theta = _positive(M, B, G, seed=1), _positive(M, 1, G, seed=2)
    x = torch.zeros(M, B, G, dtype=torch.float64)
    expected = (theta * (theta / (theta + mu)).log()).sum(
        -1
    )  # log P(0) = theta log(theta/(theta+mu))
    torch.testing.assert_close(log_nb_sum(x, mu, theta, _all()), expected, rtol=1e-6, atol=1e-6)
    # library size 0 makes every mean 0: the only possible outcome has log probability 0
    empty = log_nb_sum(x, torch.zeros_like(mu), theta, _all())
    torch.testing.assert_close(empty, torch.zeros(M, B).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [1.0, 1e3, 1e6])
def test_large_counts_in_float32(count: float) -> None:
    x = torch.full((1, 1, 1), count)
    mu, theta = torch.full((1, 1, 1), 0.9 * count).requires_grad_(), torch.full((1, 1, 1), 2.0)
    theta.requires_grad_()
    ours = log_nb_sum(x, mu, theta, torch.ones(1, 1, dtype=torch.bool))
    exact = stats.nbinom.logpmf(count, 2.0, 2.0 / (2.0 + 0.9 * count))
    # lgamma(1e6) is 1.3e7, of which float32 resolves about 1
    assert ours.item() == pytest.approx(exact, abs=max(1e-4, 3e-7 * count * math.log(count + 1)))
    ours.sum().backward()
    assert mu.grad is not None
    assert torch.isfinite(mu.grad).all()
    assert theta.grad is not None
    assert torch.isfinite(theta.grad).all()


def test_zinb_is_a_mixture_of_zero_and_nb() -> None:
    x, mu, theta = _counts(), _positive(M, B, G, seed=1), _positive(M, B, G, seed=2)
    logits = _positive(M, B, G, seed=3) - 1.5
    pi = torch.sigmoid(logits)
    nb = log_nb(x, mu, theta).exp()
    expected = (pi * (x == 0) + (1 - pi) * nb).log()
    torch.testing.assert_close(log_zinb(x, mu, theta, logits), expected, rtol=1e-6, atol=1e-6)
    # extreme logits: NB alone at the one end, certain zeros at the other
    never, always = torch.full_like(mu, -60.0), torch.full_like(mu, 60.0)
    torch.testing.assert_close(log_zinb(x, mu, theta, never), nb.log(), rtol=1e-6, atol=1e-6)
    zeros = log_zinb(torch.zeros_like(x), mu, theta, always)
    torch.testing.assert_close(zeros, torch.zeros_like(x), rtol=0, atol=1e-12)


def test_zinb_sums_to_one_over_counts() -> None:
    x = torch.arange(400, dtype=torch.float64)
    total = log_zinb(x, torch.tensor(6.0), torch.tensor(1.5), torch.tensor(-0.3)).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-6)


def test_mixture_is_the_mixture_of_two_nb() -> None:
    y, theta = _counts(40.0), _positive(M, B, G, seed=2)
    background, logits = _positive(M, B, G, seed=1), _positive(M, B, G, seed=3) - 1.5
    foreground = background * 5
    pi = torch.sigmoid(logits)
    expected = (
        pi * log_nb(y, background, theta).exp() + (1 - pi) * log_nb(y, foreground, theta).exp()
    ).log()
    ours = log_nb_mixture(y, background, foreground, theta, logits)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)
    counts = torch.arange(3000, dtype=torch.float64)
    scalars = [torch.tensor(v) for v in (3.0, 40.0, 2.0, 0.4)]
    assert log_nb_mixture(counts, *scalars).exp().sum().item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("count", [0.0, 1e6])
@pytest.mark.parametrize("logit", [-80.0, 80.0])
def test_mixture_stays_finite_at_the_edges(count: float, logit: float) -> None:
    leaves = [torch.tensor([v], requires_grad=True) for v in (1e-3, 50.0, 1.0, logit)]
    value = log_nb_mixture(torch.tensor([count]), *leaves)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert all(leaf.grad is not None and torch.isfinite(leaf.grad).all() for leaf in leaves)


@pytest.mark.slow  # imports scvi-tools: about 10 s
def test_equals_the_distributions_of_scvi_tools() -> None:
    from scvi.distributions import (
        NegativeBinomial,
        NegativeBinomialMixture,
        ZeroInflatedNegativeBinomial,
    )

    x, mu, theta = _counts(), _positive(M, B, G, seed=1), _positive(M, B, G, seed=2)
    logits = _positive(M, B, G, seed=3) - 1.5
    nb = NegativeBinomial(mu=mu, theta=theta).log_prob(x)
    torch.testing.assert_close(log_nb(x, mu, theta), nb, rtol=1e-12, atol=1e-12)
    zinb = ZeroInflatedNegativeBinomial(mu=mu, theta=theta, zi_logits=logits).log_prob(x)
    torch.testing.assert_close(log_zinb(x, mu, theta, logits), zinb, rtol=1e-10, atol=1e-10)
    mixture = NegativeBinomialMixture(mu1=mu, mu2=6 * mu, theta1=theta, mixture_logits=logits)
    ours = log_nb_mixture(x, mu, 6 * mu, theta, logits)
    torch.testing.assert_close(ours, mixture.log_prob(x), rtol=1e-10, atol=1e-10)
