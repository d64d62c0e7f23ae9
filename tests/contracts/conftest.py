"""Random minibatches for every implementation to be tried on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch

from recart.contracts import CellBatch

MEMBERS, CELLS, GENES, PROTEINS, RECEPTOR, BATCHES = 3, 9, 11, 6, 5, 3


def _random(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def make_batch() -> Callable[..., CellBatch]:
    """`make_batch(proteins=..., receptor=..., batches=..., cells=..., counts=True, seed=0)`.

    float64; the last row of every member is padding; some proteins and receptors are missing; all
    batches are known.
    """

    def make(
        proteins: int = PROTEINS,
        receptor: int = RECEPTOR,
        batches: int = BATCHES,
        cells: int = CELLS,
        counts: bool = True,
        seed: int = 0,
    ) -> CellBatch:
        g = torch.Generator().manual_seed(seed)
        shape = (MEMBERS, cells)
        x = torch.poisson(_random(g, *shape, GENES) * 4, g)
        r_mask = _random(g, *shape) < 0.6
        r_mask[:, 0] = receptor > 0
        weight = torch.ones(shape, dtype=torch.float64)
        if cells > 1:
            weight[:, -1] = 0.0
        codes = torch.randint(batches, shape, generator=g)
        r = torch.randn(*shape, receptor, generator=g, dtype=torch.float64)
        return CellBatch(
            x_mbg=x if counts else torch.log1p(x) - 0.5,
            x_mask_mg=torch.ones(MEMBERS, GENES, dtype=torch.bool),
            y_mba=torch.poisson(_random(g, *shape, proteins) * 30, g),
            y_mask_mba=_random(g, *shape, proteins) < 0.8,
            r_mbt=r * r_mask.unsqueeze(-1),
            r_mask_mb=r_mask,
            r_measured_mb=r_mask | (_random(g, *shape) < 0.5),
            batch_mbe=torch.nn.functional.one_hot(codes, batches).double(),
            weight_mb=weight,
            active_m=torch.ones(MEMBERS, dtype=torch.bool),
        )

    return make


@pytest.fixture
def take_cells() -> Callable[[CellBatch, torch.Tensor], CellBatch]:
    """`take_cells(batch, rows)`: these cells of every member, in this order."""
    fixed = {"x_mask_mg", "active_m"}

    def take(batch: CellBatch, rows: torch.Tensor) -> CellBatch:
        return replace(
            batch,
            **{
                f.name: getattr(batch, f.name)[:, rows]
                for f in fields(batch)
                if f.name not in fixed
            },
        )

    return take


@pytest.fixture
def take_member() -> Callable[[CellBatch, int], CellBatch]:
    """`take_member(batch, m)`: one member alone."""

    def take(batch: CellBatch, member: int) -> CellBatch:
        return CellBatch(
            **{f.name: getattr(batch, f.name)[member : member + 1] for f in fields(batch)}
        )

    return take
