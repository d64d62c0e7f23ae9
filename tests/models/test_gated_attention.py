"""Gated attention: masked, stacked, the same in chunks."""

from __future__ import annotations

import pytest
import torch

from recart.models.gated_attention import GatedAttention, attention_parameters


def _network(seeds: list[int], inputs: int = 5, hidden: int = 4) -> GatedAttention:
    network = GatedAttention(seeds, inputs, hidden)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        own = torch.randn(hidden, generator=generator, dtype=torch.float64)
        network.readout.copy_(own.expand(len(seeds), -1))
    return network


def _bags(members: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(members, 4, 7, 5, generator=generator, dtype=torch.float64)
    return x, torch.rand(members, 4, 7, generator=generator) < 0.7


def test_it_equals_its_formula() -> None:
    network = _network([3])
    x, mask = _bags(1)
    logits, attention, _ = network(x, mask)

    def linear(layer: torch.nn.Module, value: torch.Tensor) -> torch.Tensor:
        return value @ layer.weight[0] + layer.bias[0]

    for n in range(4):
        h = torch.tanh(linear(network.embed, x[0, n][mask[0, n]]))
        gated = torch.tanh(linear(network.content, h)) * torch.sigmoid(linear(network.gate, h))
        weight = torch.softmax(linear(network.score, gated)[:, 0], 0)
        torch.testing.assert_close(attention[0, n][mask[0, n]], weight)
        torch.testing.assert_close(logits[0, n], weight @ h @ network.readout[0])


def test_a_masked_instance_changes_nothing_and_a_bag_without_any_reads_zero() -> None:
    network = _network([3, 4, 5])
    x, mask = _bags()
    mask[0, 0] = False
    other = torch.where(mask.unsqueeze(-1), x, 1e3)
    logits, attention, _ = network(x, mask)
    torch.testing.assert_close(network(other, mask)[0], logits, rtol=0, atol=0)
    assert bool((attention[~mask] == 0).all())
    assert float(logits[0, 0].detach()) == 0.0
    network(x, mask)[0].sum().backward()
    assert all(bool(torch.isfinite(own.grad).all()) for own in network.parameters() if own.numel())


def test_members_do_not_mix_and_start_as_if_alone() -> None:
    x, mask = _bags()
    together = _network([3, 4, 5])(x, mask)[0]
    for m, seed in enumerate((3, 4, 5)):
        alone = _network([seed])(x[m : m + 1], mask[m : m + 1])[0]
        torch.testing.assert_close(alone[0], together[m], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_chunks_give_what_the_whole_gives(size: int) -> None:
    network = _network([3, 4, 5])
    x, _ = _bags()
    whole = network(x, torch.ones(3, 4, 7, dtype=torch.bool))[2]
    for n in range(4):
        pooled = network.pool_chunks(x[:, n].split(size, dim=1))
        torch.testing.assert_close(pooled, whole[:, n])


def test_a_bag_without_chunks_reads_zero() -> None:
    assert bool((_network([3]).pool_chunks([]) == 0).all())


def test_parameters_are_counted() -> None:
    network = _network([3])
    assert sum(own.numel() for own in network.parameters()) == attention_parameters(5, 4)


def test_it_starts_at_zero() -> None:
    x, mask = _bags()
    assert bool((GatedAttention([1, 2, 3], 5, 4)(x, mask)[0] == 0).all())
