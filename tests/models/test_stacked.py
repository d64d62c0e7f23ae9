"""Stacked layers equal torch's layers; weights and noise of a member do not know its company."""

from __future__ import annotations

import pytest
import torch

from recart.models.noise import MemberNoise, member_generator
from recart.models.rectified import rectified
from recart.models.stacked import StackedBlock, StackedLinear, StackedMLP, initialise


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_linear_is_torch_linear_on_input_and_covariate() -> None:
    layer = StackedLinear(2, 5, 4, 3).double()
    initialise(layer, [1, 2], [3, 3])
    x, batch = _draw(2, 7, 5), torch.softmax(_draw(2, 7, 3, seed=1), -1)
    out = layer(x, batch)
    for member in range(2):
        plain = torch.nn.Linear(8, 4).double()
        with torch.no_grad():
            plain.weight.copy_(torch.cat((layer.weight[member], layer.condition[member])).T)
            plain.bias.copy_(layer.bias[member])
        torch.testing.assert_close(out[member], plain(torch.cat((x[member], batch[member]), -1)))
        single = StackedLinear(1, 5, 4, 3).double()
        initialise(single, [member + 1], [3])
        torch.testing.assert_close(single(x[[member]], batch[[member]])[0], out[member])
    torch.testing.assert_close(layer(x, None), layer(x, torch.zeros_like(batch)))


def test_block_is_layer_norm_relu_dropout() -> None:
    block = StackedBlock(2, 5, 4, 0, 0.5).double()
    initialise(block, [1, 2], [0, 0])
    x, batch = _draw(2, 7, 5), torch.zeros(2, 7, 0).double()
    hidden = torch.layer_norm(block.linear(x), (4,)).clamp_min(0.0)
    torch.testing.assert_close(block(x, batch, None), hidden)
    dropped = block(x, batch, MemberNoise([1, 2], 0))
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 2 * hidden[kept])
    assert 0 < (~kept & (hidden > 0)).sum() < (hidden > 0).sum()


def test_start_of_a_member_does_not_depend_on_its_company() -> None:
    company = StackedMLP(3, 6, 5, 2, 4, 0.0)
    initialise(company, [7, 8, 9], [2, 4, 1])
    alone = StackedMLP(1, 6, 5, 2, 2, 0.0)
    initialise(alone, [7], [2])
    for one, other in zip(company.blocks, alone.blocks, strict=True):
        assert torch.equal(one.linear.weight[:1], other.linear.weight)
        assert torch.equal(one.linear.bias[:1], other.linear.bias)
        assert torch.equal(one.linear.condition[:1, :2], other.linear.condition)
        assert not one.linear.condition[0, 2:].any()
    assert not torch.equal(company.blocks[0].linear.weight[0], company.blocks[0].linear.weight[1])
    # layers of equal shape do not start equal
    twin = StackedMLP(1, 5, 5, 2, 0, 0.0)
    initialise(twin, [7], [0])
    assert not torch.equal(twin.blocks[0].linear.weight, twin.blocks[1].linear.weight)


def test_start_has_the_range_of_torch_linear() -> None:
    layer = StackedLinear(1, 400, 300, 0)
    initialise(layer, [0], [0])
    bound = 1 / 400**0.5
    assert layer.weight.abs().max() <= bound
    assert abs(float(layer.weight.detach().std()) - bound / 3**0.5) < 0.01 * bound


def test_noise_is_a_function_of_seed_and_step() -> None:
    like = torch.empty(3, 50, 4)
    drawn = MemberNoise([5, 6, 7], 2).normal(like)
    assert torch.equal(MemberNoise([6], 2).normal(like[:1])[0], drawn[1])
    assert not torch.equal(MemberNoise([6], 3).normal(like[:1])[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[1])
    stream = MemberNoise([5], 2)
    assert not torch.equal(stream.normal(like[:1]), stream.normal(like[:1]))


def test_noise_has_the_distribution_it_says() -> None:
    like = torch.empty(2, 500, 40)
    noise = MemberNoise([0, 1], 0)
    normal, keep = noise.normal(like), noise.keep(like, 0.3)
    # five standard errors of 40,000 draws
    assert abs(float(normal.mean())) < 0.025
    assert abs(float(normal.std()) - 1) < 0.018
    assert set(keep.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.7))}
    assert abs(float(keep.mean()) - 1) < 0.017


def test_streams_of_near_seeds_and_steps_differ() -> None:
    first = {
        float(torch.rand(1, generator=member_generator(seed, step), dtype=torch.float64))
        for seed in range(40)
        for step in range(-20, 20)
    }
    assert len(first) == 1600


def test_each_member_has_its_own_dropout_and_draws_as_it_would_alone() -> None:
    like = torch.empty(3, 500, 41)
    rates = [0.3, 0.0, 0.6]
    company = MemberNoise([5, 6, 7], 2)
    keep, after = company.keep(like, rates), company.normal(like)
    for member, rate in enumerate(rates):
        alone = MemberNoise([5 + member], 2)
        assert torch.equal(alone.keep(like[:1], rate)[0], keep[member])
        assert torch.equal(alone.normal(like[:1])[0], after[member])
        # five standard errors of 20,500 draws
        assert abs(float((keep[member] == 0).float().mean()) - rate) < 0.018
        assert abs(float(keep[member].mean()) - 1) < 0.045
    assert (keep[1] == 1).all()


def test_padding_of_other_members_draws_nothing() -> None:
    company = MemberNoise([5, 6], 2)
    keep, after = company.keep(torch.empty(2, 13), 0.5, [13, 6]), company.normal(torch.empty(2, 9))
    alone = MemberNoise([6], 2)
    assert torch.equal(alone.keep(torch.empty(1, 6), 0.5)[0], keep[1, :6])
    assert torch.equal(alone.normal(torch.empty(1, 9))[0], after[1])


@pytest.mark.parametrize("rates", [[0.3, 0.3], [0.2, 0.6], [0.0, 0.5]])
def test_relu_and_dropout_in_one_equal_one_after_the_other(rates: list[float]) -> None:
    like = torch.randn(2, 40, 7, generator=torch.Generator().manual_seed(1))
    keep = MemberNoise([5, 6], 2).keep(like, rates)
    upstream = torch.randn(2, 40, 7, generator=torch.Generator().manual_seed(2))
    results = []
    for function in (lambda h: rectified(h, keep, rates), lambda h: torch.relu(h) * keep):
        h = like.clone().requires_grad_()
        out = function(h)
        (gradient,) = torch.autograd.grad((out * upstream).sum(), h)
        results.append((out.detach(), gradient))
    (out, gradient), (expected, expected_gradient) = results
    assert torch.equal(out, expected)
    assert torch.equal(gradient, expected_gradient)
