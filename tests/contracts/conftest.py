"""Random minibatches for every implementation to be tried on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch

from recart.contracts import CellBatch, SparseRows

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
            x=SparseRows.from_dense(x if counts else torch.log1p(x) - 0.5),
            x_mask_mg=torch.ones(MEMBERS, GENES, dtype=torch.bool),
            x_seen_mb=torch.ones(shape, dtype=torch.bool),
            y_mba=torch.poisson(_random(g, *shape, proteins) * 30, g),
            y_mask_mba=_random(g, *shape, proteins) < 0.8,
            r_mbt=r * r_mask.unsqueeze(-1),
            r_mask_mb=r_mask,
            r_measured_mb=r_mask | (_random(g, *shape) < 0.5),
            r_weight_mb=2 * _random(g, *shape) * r_mask,
            batch_mbe=torch.nn.functional.one_hot(codes, batches).double(),
            weight_mb=weight,
            active=(True,) * MEMBERS,
        )

    return make


@pytest.fixture
def take_cells() -> Callable[[CellBatch, torch.Tensor], CellBatch]:
    """`take_cells(batch, rows)`: these cells of every member, in this order."""
    fixed = {"x", "x_mask_mg", "active"}

    def take(batch: CellBatch, rows: torch.Tensor) -> CellBatch:
        return replace(
            batch,
            x=SparseRows.from_dense(batch.x.dense()[:, rows]),
            **{
                f.name: getattr(batch, f.name)[:, rows]
                for f in fields(batch)
                if f.name not in fixed
            },
        )

    return take


@pytest.fixture
def hide_genes() -> Callable[[CellBatch, torch.Tensor], CellBatch]:
    """`hide_genes(batch, mask_mg)`: a panel that lacks some genes, and so has no counts of them."""

    def hide(batch: CellBatch, mask_mg: torch.Tensor) -> CellBatch:
        x = SparseRows.from_dense(batch.x.dense() * mask_mg.unsqueeze(1))
        return replace(batch, x=x, x_mask_mg=mask_mg)

    return hide


@pytest.fixture
def as_float32() -> Callable[[CellBatch], CellBatch]:
    """`as_float32(batch)`: the same numbers in single precision."""

    def cast(batch: CellBatch) -> CellBatch:
        doubles = {
            f.name: getattr(batch, f.name).float()
            for f in fields(batch)
            if getattr(getattr(batch, f.name), "dtype", None) == torch.float64
        }
        return replace(batch, x=replace(batch.x, value_n=batch.x.value_n.float()), **doubles)

    return cast
