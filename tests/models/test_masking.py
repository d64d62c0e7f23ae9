"""What is hidden from the encoder in training, and that hidden is not zero."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recart.contracts import CellBatch, SparseRows
from recart.models.masking import Masking
from recart.models.noise import MemberNoise
from recart.models.rna import NegativeBinomial
from recart.models.totalvi import Sizes, TotalVI

MEMBERS, CELLS, GENES, PROTEINS = 2, 400, 60, 30


@pytest.fixture
def batch() -> CellBatch:
    generator = torch.Generator().manual_seed(0)
    shape = (MEMBERS, CELLS)
    mask = torch.ones(MEMBERS, GENES, dtype=torch.bool)
    mask[1, 50:] = False  # member 1 has fewer genes
    x = torch.poisson(torch.rand(*shape, GENES, generator=generator) * 2, generator)
    x = x * mask.unsqueeze(1)
    return CellBatch(
        x=SparseRows.from_dense(x),
        x_mask_mg=mask,
        x_seen_mb=torch.ones(shape, dtype=torch.bool),
        y_mba=torch.poisson(torch.rand(*shape, PROTEINS, generator=generator) * 9, generator),
        y_mask_mba=torch.rand(*shape, PROTEINS, generator=generator) < 0.9,
        r_mbt=torch.randn(*shape, 4, generator=generator),
        r_mask_mb=torch.rand(shape, generator=generator) < 0.5,
        r_measured_mb=torch.ones(shape, dtype=torch.bool),
        r_weight_mb=torch.ones(shape),
        batch_mbe=torch.ones(*shape, 1),
        weight_mb=torch.ones(shape),
        active=(True,) * MEMBERS,
    )


def hide(batch: CellBatch, masking: Masking, step: int = 0) -> CellBatch:
    return masking.hide(batch, [GENES, 50], MemberNoise([1, 2], step))


def test_nothing_is_hidden_by_rates_of_zero(batch: CellBatch) -> None:
    assert hide(batch, Masking(0.0)) is batch


def test_modalities_are_hidden_whole(batch: CellBatch) -> None:
    seen = hide(batch, Masking(modality=0.25))
    hidden = ~seen.y_mask_mba.any(-1)
    assert abs(float(hidden.float().mean()) - 0.25) < 0.08  # five standard errors of 800 cells
    assert torch.equal(seen.y_mask_mba[~hidden], batch.y_mask_mba[~hidden])
    assert abs(float((~seen.r_measured_mb).float().mean()) - 0.25) < 0.08
    assert not (seen.r_mask_mb & ~seen.r_measured_mb).any()
    assert not torch.equal(hidden, ~seen.r_measured_mb)  # one does not follow from the other
    assert seen.x is batch.x


def test_single_proteins_are_hidden_in_each_cell(batch: CellBatch) -> None:
    seen = hide(batch, Masking(0.0, proteins=0.3))
    assert not (seen.y_mask_mba & ~batch.y_mask_mba).any()
    share = 1 - float(seen.y_mask_mba.sum() / batch.y_mask_mba.sum())
    assert abs(share - 0.3) < 0.016  # five standard errors of 21,600 values
    assert seen.y_mask_mba.any(-1).all()


def test_genes_are_hidden_from_all_cells_of_a_member(batch: CellBatch) -> None:
    shares, drawn = [], []
    for step in range(200):
        seen = hide(batch, Masking(0.0, genes=0.2), step)
        kept = seen.x_mask_mg & batch.x_mask_mg
        assert torch.equal(seen.x_mask_mg, kept)
        assert torch.equal(seen.x.dense(), batch.x.dense() * kept.unsqueeze(1))
        shares.append(1 - float(kept[0].float().mean()))
        drawn.append(1 - float(kept[1, :50].float().mean()))
    for own in (shares, drawn):  # a share between 0 and .2 is drawn each step, not a gene at a time
        assert abs(sum(own) / 200 - 0.1) < 0.027  # five standard errors of 200 steps
        assert torch.tensor(own).std() > 0.06  # .058 of the share, and what 50 or 60 genes add
    assert abs(float(torch.corrcoef(torch.tensor([shares, drawn]))[0, 1])) < 0.35


def test_proteins_of_a_panel_are_hidden_from_all_cells_of_a_member(batch: CellBatch) -> None:
    shares = []
    for step in range(200):
        seen = hide(batch, Masking(0.0, panel=0.4), step)
        hidden_ma = (batch.y_mask_mba & ~seen.y_mask_mba).any(1)
        expected = batch.y_mask_mba & ~hidden_ma.unsqueeze(1)
        assert torch.equal(seen.y_mask_mba, expected)
        assert seen.x is batch.x
        shares.append(float(hidden_ma[0].float().mean()))
    assert abs(sum(shares) / 200 - 0.2) < 0.05  # five standard errors of 200 steps
    assert min(shares) < 0.07 < 0.33 < max(shares)


def test_rna_is_hidden_from_cells_that_show_something_else(batch: CellBatch) -> None:
    seen = hide(batch, Masking(modality=0.5, rna=0.4))
    rest = seen.y_mask_mba.any(-1) | seen.r_mask_mb
    assert bool((~rest).any())
    assert seen.x_seen_mb[~rest].all()
    share = float((~seen.x_seen_mb[rest]).float().mean())
    assert abs(share - 0.4) < 0.1  # five standard errors of 600 cells
    assert torch.equal(seen.x.dense(), batch.x.dense() * seen.x_seen_mb.unsqueeze(-1))
    assert torch.equal(seen.x_mask_mg, batch.x_mask_mg)
    # one does not follow from the other
    assert not torch.equal(~seen.x_seen_mb, seen.r_mask_mb)


@pytest.mark.parametrize(
    "masking", [Masking(0.4), Masking(0.0, 0.4), Masking(0.0, 0.0, 0.4), Masking(0.0, rna=0.4)]
)
def test_the_decoder_still_explains_what_is_hidden(batch: CellBatch, masking: Masking) -> None:
    """With an encoder that is blind, hiding changes no term."""
    recipe = TotalVI(3, 8, dropout=0.0, masking=masking, rna=NegativeBinomial())
    sizes = Sizes(genes=GENES, genes_m=(GENES, 50), proteins=PROTEINS, receptor=4, batches=(1, 1))
    stack = recipe.stack(sizes, [1, 2])
    with torch.no_grad():
        for parameter in stack.encoder.parameters():
            parameter.zero_()
    terms = stack.terms(batch, MemberNoise([1, 2], 0))
    whole = replace(recipe, masking=Masking(0.0)).stack(sizes, [1, 2])
    whole.load_state_dict(stack.state_dict())
    rest = {"protein", "kl_background", "kl_z", "presence", "receptor", "rna"}
    assert set(terms) == rest
    # the draws of z differ, as the masks were drawn first: compare at z = 0
    blind = stack.terms(batch, None)
    for name, value in whole.terms(batch, None).items():
        assert torch.equal(value, blind[name]), name
    # every measured protein and every gene is still scored
    no_protein = stack.terms(replace(batch, y_mask_mba=batch.y_mask_mba & False), None)
    assert (terms["protein"] != no_protein["protein"]).all()
    assert torch.isfinite(terms["rna"]).all()
