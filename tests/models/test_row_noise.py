"""Noise of some rows of a minibatch: what the whole minibatch draws there."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from recart.models.noise import MemberNoise, RowNoise

SEEDS, STEP, WIDTH = [3, 4], 7, 10
LENGTHS = [9, 5]  # genes of each member; beyond them nothing is drawn


def _drawn(noise: MemberNoise | RowNoise, rows: int) -> list[torch.Tensor]:
    """What a model draws, in its order: arrays of cells, of genes, of cells."""
    cells, genes = torch.empty(2, rows, 6), torch.empty(2, 9)
    return [
        noise.keep(cells, [0.3, 0.0]),
        noise.keep(genes, 0.5, LENGTHS),
        noise.normal(cells),
    ]


@pytest.mark.parametrize("edges", [(0, 10), (0, 5, 10), (0, 3, 6, 10), (0, 1, 10)])
def test_parts_of_a_minibatch_draw_what_the_whole_draws(edges: tuple[int, ...]) -> None:
    whole = _drawn(MemberNoise(SEEDS, STEP), WIDTH)
    parts = [
        _drawn(RowNoise(MemberNoise(SEEDS, STEP), slice(a, b), WIDTH), b - a)
        for a, b in pairwise(edges)
    ]
    for i, expected in enumerate(whole):
        if expected.ndim == 2:  # without cells: the same everywhere
            for member, length in enumerate(LENGTHS):
                own = expected[member, :length]
                assert all(torch.equal(part[i][member, :length], own) for part in parts)
        else:
            assert torch.equal(torch.cat([part[i] for part in parts], dim=1), expected)


def test_parts_differ() -> None:
    noise = [RowNoise(MemberNoise(SEEDS, STEP), own, WIDTH) for own in (slice(0, 5), slice(5, 10))]
    first, second = (own.normal(torch.empty(2, 5, 6)) for own in noise)
    assert not torch.isclose(first, second).any()
