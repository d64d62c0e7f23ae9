"""What is hidden from an encoder can't reach it, in every encoder and for every kind of mask."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import recart.models
from recart.contracts import CellBatch, SparseRows
from recart.models.cell_encoder import CellEncoder, Posterior
from recart.models.masking import Masking
from recart.models.noise import MemberNoise
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack

MakeBatch = Callable[..., CellBatch]
SEEDS = [11, 12, 13]
for _module in pkgutil.iter_modules(recart.models.__path__, "recart.models."):
    importlib.import_module(_module.name)
ENCODERS = CellEncoder.__subclasses__()

# how each is hidden, and where it is hidden (m b)
KINDS: dict[str, tuple[Masking, Callable[[CellBatch], torch.Tensor]]] = {
    "rna": (Masking(0.0, rna=0.5), lambda seen: ~seen.x_seen_mb),
    "protein": (Masking(0.5), lambda seen: ~seen.y_mask_mba.any(-1)),
    "receptor": (Masking(0.5), lambda seen: ~seen.r_measured_mb),
    "proteins": (Masking(0.0, proteins=0.5), lambda seen: ~seen.y_mask_mba.all(-1)),
    "genes": (Masking(0.0, genes=0.5), lambda seen: ~seen.x_mask_mg.all(-1, keepdim=True)),
}
every_encoder = pytest.mark.parametrize("encoder", ENCODERS, ids=lambda own: own.__name__)


def _stack(encoder: type[CellEncoder], batch: CellBatch, masking: Masking) -> TotalVIStack:
    members, _, genes = batch.x.shape
    proteins, receptor = batch.y_mba.shape[-1], batch.r_mbt.shape[-1]
    sizes = Sizes(genes=genes, proteins=proteins, receptor=receptor, batches=(3,) * members)
    stack = TotalVI(4, 8, encoder(), masking=masking).stack(sizes, SEEDS).double()
    with torch.no_grad():
        for position, parameter in enumerate(stack.parameters()):
            own = torch.Generator().manual_seed(position)
            parameter += 0.1 * torch.randn(parameter.shape, generator=own, dtype=torch.float64)
    return stack


def _seen(stack: TotalVIStack, batch: CellBatch) -> CellBatch:
    return stack.recipe.masking.hide(batch, stack.sizes.own_genes, MemberNoise(SEEDS, 1))


def _encoded(stack: TotalVIStack, seen: CellBatch) -> Posterior:
    posterior: Posterior = stack.encoder(seen, stack.rna.encode(seen), None)
    return posterior


def _poisoned(batch: CellBatch, kind: str, seen: CellBatch) -> CellBatch:
    """Other values wherever they are hidden."""
    x = batch.x.dense()
    if kind == "rna":
        x = torch.where(seen.x_seen_mb.unsqueeze(-1), x, 3 * x + 5)
    if kind == "genes":
        x = torch.where(seen.x_mask_mg.unsqueeze(1), x, 3 * x + 5)
    hidden_r = ~seen.r_measured_mb.unsqueeze(-1)
    return replace(
        batch,
        x=SparseRows.from_dense(x),
        y_mba=torch.where(seen.y_mask_mba, batch.y_mba, 4321.0),
        r_mbt=torch.where(hidden_r, -50.0, batch.r_mbt),
    )


@every_encoder
@pytest.mark.parametrize("kind", KINDS)
def test_values_that_are_hidden_change_nothing(
    encoder: type[CellEncoder], kind: str, make_batch: MakeBatch
) -> None:
    batch = make_batch()
    batch = replace(batch, y_mask_mba=batch.y_mask_mba | True, r_measured_mb=batch.r_mask_mb | True)
    masking, where = KINDS[kind]
    stack = _stack(encoder, batch, masking)
    seen = _seen(stack, batch)
    hidden = where(seen)
    assert hidden.any()
    again = _seen(stack, _poisoned(batch, kind, seen))
    mean, variance = _encoded(stack, seen)
    mean_again, variance_again = _encoded(stack, again)
    assert torch.equal(mean, mean_again)
    assert torch.equal(variance, variance_again)
    # and hiding is seen: the cells that lack something are encoded otherwise
    whole, _ = _encoded(stack, batch)
    changed = (whole != mean).any(-1)
    assert changed[hidden.expand_as(changed)].all()


@every_encoder
def test_values_that_are_shown_do_change_it(
    encoder: type[CellEncoder], make_batch: MakeBatch
) -> None:
    batch = make_batch()
    stack = _stack(encoder, batch, Masking(0.0))
    mean, _ = _encoded(stack, batch)
    for changes in (
        {"x": SparseRows.from_dense(3 * batch.x.dense() + 5)},
        {"y_mba": 2 * batch.y_mba + 7},
        {"r_mbt": batch.r_mbt - 3},
    ):
        other, _ = _encoded(stack, replace(batch, **changes))
        shown = batch.r_mask_mb & batch.r_measured_mb & batch.y_mask_mba.any(-1)
        assert (other != mean).any(-1)[shown].all(), list(changes)


@every_encoder
def test_rna_that_is_hidden_is_not_rna_of_no_counts(
    encoder: type[CellEncoder], make_batch: MakeBatch
) -> None:
    batch = make_batch()
    stack = _stack(encoder, batch, Masking(0.0))
    empty = replace(batch, x=SparseRows.from_dense(torch.zeros_like(batch.x.dense())))
    hidden = replace(empty, x_seen_mb=empty.x_seen_mb & False)
    differs = (_encoded(stack, empty).mean_mbl != _encoded(stack, hidden).mean_mbl).any(-1)
    assert differs.all()
    # and is the same as RNA of which no gene is there
    no_genes = replace(empty, x_mask_mg=empty.x_mask_mg & False)
    assert torch.equal(_encoded(stack, no_genes).mean_mbl, _encoded(stack, hidden).mean_mbl)
