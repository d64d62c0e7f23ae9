"""What every stack holds to; encoders and RNA likelihoods are found, not listed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch

import recart.models
from recart.contracts import CellBatch, SparseRows
from recart.models.cell_encoder import CellEncoder
from recart.models.masking import Masking
from recart.models.noise import MemberNoise
from recart.models.rna_likelihood import RnaLikelihood
from recart.models.stacked import StackedLinear
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack

SEEDS = [11, 12, 13]
MASKING = Masking(modality=0.3, proteins=0.2, genes=0.2, rna=0.6)
RECIPES: list[TotalVI] = []
for _module in pkgutil.iter_modules(recart.models.__path__, "recart.models."):
    importlib.import_module(_module.name)
for _encoder in [_found() for _found in CellEncoder.__subclasses__()]:
    for _found in RnaLikelihood.__subclasses__():
        RECIPES.append(TotalVI(4, 8, _encoder, 2, 0.2, MASKING, _found()))
        if "per_batch" in {f.name for f in fields(_found)}:  # type: ignore[arg-type]
            _rna = _found(per_batch=True)  # type: ignore[call-arg]
            RECIPES.append(TotalVI(4, 8, _encoder, 2, 0.2, MASKING, _rna))


def _name(recipe: TotalVI) -> str:
    return f"{type(recipe.encoder).__name__}-{recipe.rna}"


MakeBatch = Callable[..., CellBatch]
pytestmark = pytest.mark.parametrize("recipe", RECIPES, ids=_name)


def _sizes(batch: CellBatch) -> Sizes:
    return Sizes(
        genes=batch.x.dense().shape[-1],
        proteins=batch.y_mba.shape[-1],
        receptor=batch.r_mbt.shape[-1],
        batches=(batch.batch_mbe.shape[-1],) * batch.x.dense().shape[0],
    )


def _stack(recipe: TotalVI, batch: CellBatch, seeds: list[int] | None = None) -> TotalVIStack:
    """A stack in float64 whose every weight differs from its start, as after some training."""
    seeds = SEEDS if seeds is None else seeds
    stack = recipe.stack(_sizes(batch), seeds).double()
    e = batch.batch_mbe.shape[-1]
    with torch.no_grad():
        for position, parameter in enumerate(stack.parameters()):
            for member, seed in enumerate(seeds):
                own = torch.Generator().manual_seed(1000 * position + seed)
                shift = torch.randn(parameter.shape[1:], generator=own, dtype=torch.float64)
                parameter[member] += 0.1 * shift
        stack.batch_prior_me[:] = torch.softmax(torch.arange(e).double(), 0)
    return stack


def _loss(
    stack: TotalVIStack, batch: CellBatch, noise: bool = True, seeds: Any = None
) -> torch.Tensor:
    drawn = MemberNoise(SEEDS if seeds is None else seeds, 5) if noise else None
    return stack.loss(stack.terms(batch, drawn), batch.weight_mb, 0.7)


def _gradients(
    stack: TotalVIStack, batch: CellBatch, noise: bool = True
) -> dict[str, torch.Tensor]:
    stack.zero_grad()
    _loss(stack, batch, noise).sum().backward()
    return {
        n: p.grad.clone() for n, p in stack.named_parameters() if p.grad is not None and p.numel()
    }


def _counts(recipe: TotalVI, make_batch: MakeBatch, **sizes: Any) -> CellBatch:
    return make_batch(counts=recipe.rna.counts, **sizes)


def test_shapes_and_finite_terms(recipe: TotalVI, make_batch: MakeBatch) -> None:
    batch = _counts(recipe, make_batch)
    stack = _stack(recipe, batch)
    terms = stack.terms(batch, MemberNoise(SEEDS, 0))
    assert set(terms) == {"rna", "kl_z", "protein", "kl_background", "receptor", "presence"}
    for name, value in terms.items():
        assert value.shape == batch.weight_mb.shape, name
        assert torch.isfinite(value).all(), name
    for name in ("kl_z", "receptor", "presence"):  # divergences and losses that are never negative
        assert (terms[name] >= -1e-12).all()
    posterior = stack.latent(batch)
    assert posterior.mean_mbl.shape == (*batch.weight_mb.shape, 4)
    assert (posterior.variance_mbl > 0).all()
    expected_rna, expected_protein = stack.expected(batch)
    assert expected_rna.shape == batch.x.dense().shape
    assert expected_protein.shape == batch.y_mba.shape
    assert (expected_protein > 0).all()
    if recipe.rna.counts:  # observed library size
        torch.testing.assert_close(expected_rna.sum(-1), batch.x.dense().sum(-1))


def test_finite_gradients_reach_every_parameter(recipe: TotalVI, make_batch: MakeBatch) -> None:
    batch = _counts(recipe, make_batch)
    gradients = _gradients(_stack(recipe, batch), batch)
    # a layer without covariate has a weight of no elements for it
    sized = {n for n, p in _stack(recipe, batch).named_parameters() if p.numel()}
    assert set(gradients) == sized
    for name, gradient in gradients.items():
        assert torch.isfinite(gradient).all(), name
        for member in range(len(SEEDS)):
            assert gradient[member].abs().sum() > 0, (name, member)


def test_padding_changes_nothing(recipe: TotalVI, make_batch: MakeBatch) -> None:
    batch = _counts(recipe, make_batch)
    stack = _stack(recipe, batch)
    loss, gradients = _loss(stack, batch), _gradients(stack, batch)
    x, y = batch.x.dense().clone(), batch.y_mba.clone()
    x[:, -1], y[:, -1] = 0.0, 0.0
    blank = replace(
        batch,
        x=SparseRows.from_dense(x),
        y_mba=y,
        y_mask_mba=batch.y_mask_mba & (batch.weight_mb > 0).unsqueeze(-1),
        r_mask_mb=batch.r_mask_mb & (batch.weight_mb > 0),
        batch_mbe=batch.batch_mbe * batch.weight_mb.unsqueeze(-1),
    )
    assert torch.equal(_loss(stack, blank), loss)
    for name, gradient in _gradients(stack, blank).items():
        torch.testing.assert_close(gradient, gradients[name], rtol=1e-12, atol=1e-13, msg=name)


def test_order_of_cells_changes_nothing(
    recipe: TotalVI, make_batch: MakeBatch, take_cells: Callable[..., CellBatch]
) -> None:
    batch = _counts(recipe, make_batch)
    stack = _stack(recipe, batch)
    order = torch.randperm(batch.x.dense().shape[1], generator=torch.Generator().manual_seed(0))
    shuffled = take_cells(batch, order)
    torch.testing.assert_close(_loss(stack, shuffled, False), _loss(stack, batch, False))
    torch.testing.assert_close(
        stack.latent(shuffled).mean_mbl, stack.latent(batch).mean_mbl[:, order]
    )


def test_one_cell(
    recipe: TotalVI, make_batch: MakeBatch, take_cells: Callable[..., CellBatch]
) -> None:
    batch = _counts(recipe, make_batch)
    stack = _stack(recipe, batch)
    one = take_cells(batch, torch.tensor([2]))
    whole = stack.terms(batch, None)
    for name, value in stack.terms(one, None).items():
        torch.testing.assert_close(value[:, 0], whole[name][:, 2], msg=name)
    assert all(torch.isfinite(g).all() for g in _gradients(stack, one).values())


def test_members_do_not_mix(
    recipe: TotalVI, make_batch: MakeBatch, take_member: Callable[..., CellBatch]
) -> None:
    batch = _counts(recipe, make_batch)
    stack = _stack(recipe, batch)
    loss, gradients = _loss(stack, batch), _gradients(stack, batch)
    x = batch.x.dense().clone()
    x[0] = x[0] * 3 + 1
    other = replace(
        batch, x=SparseRows.from_dense(x), y_mba=batch.y_mba.index_fill(0, torch.tensor([0]), 9.0)
    )
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter[0] += 0.05
    changed = _loss(stack, other)
    assert changed[0] != loss[0]
    assert torch.equal(changed[1:], loss[1:])
    for name, gradient in _gradients(stack, other).items():
        assert torch.equal(gradient[1:], gradients[name][1:]), name
    # and a member alone: other products, the same numbers but for rounding
    single = take_member(batch, 1)
    alone = _stack(recipe, single, [SEEDS[1]])
    torch.testing.assert_close(_loss(alone, single, seeds=[SEEDS[1]])[0], loss[1])


def test_float32_is_close_to_float64(
    recipe: TotalVI, make_batch: MakeBatch, as_float32: Callable[[CellBatch], CellBatch]
) -> None:
    batch = _counts(recipe, make_batch)
    stack = _stack(recipe, batch)
    double = _loss(stack, batch, False)
    single = as_float32(batch)
    torch.testing.assert_close(
        _loss(stack.float(), single, False).double(), double, rtol=2e-5, atol=1e-4
    )


def test_bfloat16_autocast_is_finite_and_near(
    recipe: TotalVI, make_batch: MakeBatch, as_float32: Callable[[CellBatch], CellBatch]
) -> None:
    batch = as_float32(_counts(recipe, make_batch))
    stack = _stack(recipe, batch).float()
    full = _loss(stack, batch, False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = _loss(stack, batch, False)
    torch.testing.assert_close(half.float(), full, rtol=0.05, atol=0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = _loss(stack, batch)
    loss.sum().backward()
    for name, parameter in stack.named_parameters():
        if parameter.numel():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_evaluation_is_deterministic_and_training_is_not(
    recipe: TotalVI, make_batch: MakeBatch
) -> None:
    batch = _counts(recipe, make_batch)
    stack = _stack(recipe, batch)
    assert torch.equal(_loss(stack, batch, False), _loss(stack, batch, False))
    assert torch.equal(_loss(stack, batch), _loss(stack, batch))  # same seed and step
    later = stack.loss(stack.terms(batch, MemberNoise(SEEDS, 6)), batch.weight_mb, 0.7)
    assert (later != _loss(stack, batch)).all()


@pytest.mark.parametrize("noise", [False, True])
def test_masked_values_have_no_influence_at_all(
    recipe: TotalVI,
    make_batch: MakeBatch,
    hide_genes: Callable[..., CellBatch],
    noise: bool,
) -> None:
    batch = _counts(recipe, make_batch)
    mask = batch.x_mask_mg.clone()
    mask[0, 3] = mask[1, 0] = mask[2, 10] = False
    batch = hide_genes(batch, mask)
    stack = _stack(recipe, batch)
    poisoned = replace(
        batch,
        y_mba=torch.where(batch.y_mask_mba, batch.y_mba, 4321.0),
        r_mbt=torch.where(batch.r_mask_mb.unsqueeze(-1), batch.r_mbt, -50.0),
    )
    assert torch.equal(_loss(stack, poisoned, noise), _loss(stack, batch, noise))
    clean = _gradients(stack, batch, noise)
    for name, gradient in _gradients(stack, poisoned, noise).items():
        assert torch.equal(gradient, clean[name]), name
    assert torch.equal(stack.latent(poisoned).mean_mbl, stack.latent(batch).mean_mbl)
    # nor have the weights of a gene that is not there
    loss = _loss(stack, batch, noise)
    with torch.no_grad():
        stack.rna.head.bias += torch.where(mask, 0.0, 3.0)
        stack.encoder.rna.weight += torch.where(mask, 0.0, 3.0).unsqueeze(-1)
    assert torch.equal(_loss(stack, batch, noise), loss)
    for name, gradient in _gradients(stack, batch, noise).items():
        assert torch.equal(gradient, clean[name]), name


def test_missing_is_not_zero(recipe: TotalVI, make_batch: MakeBatch) -> None:
    batch = _counts(recipe, make_batch)
    stack = _stack(recipe, batch)
    y = batch.y_mba.clone()
    y[:, 0, 2] = 0.0
    measured = batch.y_mask_mba.clone()
    measured[:, 0, 2] = True
    zero = replace(batch, y_mba=y, y_mask_mba=measured)
    missing_mask = measured.clone()
    missing_mask[:, 0, 2] = False
    missing = replace(zero, y_mask_mba=missing_mask)
    assert (stack.latent(zero).mean_mbl[:, 0] != stack.latent(missing).mean_mbl[:, 0]).all()
    no_clone = replace(
        batch, r_mask_mb=batch.r_mask_mb & False, r_measured_mb=batch.r_mask_mb | True
    )
    unsequenced = replace(no_clone, r_measured_mb=batch.r_mask_mb & False)
    assert (stack.latent(no_clone).mean_mbl != stack.latent(unsequenced).mean_mbl).all()
    assert (stack.terms(no_clone, None)["presence"] > 0).all()
    assert (stack.terms(unsequenced, None)["presence"] == 0).all()


@pytest.mark.parametrize(
    "sizes",
    [
        {"proteins": 0},
        {"receptor": 0},
        {"proteins": 0, "receptor": 0},
        {"batches": 1},
        {"cells": 1},
    ],
    ids=str,
)
def test_absent_modalities(recipe: TotalVI, make_batch: MakeBatch, sizes: dict[str, int]) -> None:
    batch = _counts(recipe, make_batch, **sizes)
    stack = _stack(recipe, batch)
    gradients = _gradients(stack, batch)
    assert all(torch.isfinite(g).all() for g in gradients.values())
    silent = {n for n, p in stack.named_parameters() if n not in gradients and p.numel()}
    # only what decodes the absent modality has nothing to learn from
    allowed = ("decoder.receptor", "decoder.presence") if "receptor" in sizes else ()
    allowed += (
        ("decoder.background", "decoder.foreground", "decoder.mixing")
        if "proteins" in sizes
        else ()
    )
    assert all(name.startswith(allowed) for name in silent), silent
    terms = stack.terms(batch, None)
    if sizes.get("proteins") == 0:
        assert not terms["protein"].any()
        assert not terms["kl_background"].any()
    if sizes.get("receptor") == 0:
        assert not terms["receptor"].any()
        assert not terms["presence"].any()
    assert torch.isfinite(stack.latent(batch).mean_mbl).all()


def test_cells_without_any_count(recipe: TotalVI, make_batch: MakeBatch) -> None:
    batch = _counts(recipe, make_batch)
    batch = replace(
        batch,
        x=SparseRows.from_dense(torch.zeros_like(batch.x.dense())),
        y_mba=torch.zeros_like(batch.y_mba),
        y_mask_mba=torch.ones_like(batch.y_mask_mba),
    )
    stack = _stack(recipe, batch)
    assert torch.isfinite(_loss(stack, batch)).all()
    assert all(torch.isfinite(g).all() for g in _gradients(stack, batch).values())


def test_a_panel_without_any_of_the_genes(
    recipe: TotalVI, make_batch: MakeBatch, hide_genes: Callable[..., CellBatch]
) -> None:
    """Protein-only new patients: nothing of the RNA, everything else still finite."""
    batch = _counts(recipe, make_batch)
    batch = hide_genes(batch, torch.zeros_like(batch.x_mask_mg))
    stack = _stack(recipe, batch)
    assert not stack.terms(batch, None)["rna"].any()
    assert torch.isfinite(stack.latent(batch).mean_mbl).all()
    expected_rna, expected_protein = stack.expected(batch)
    assert not expected_rna.any()
    assert torch.isfinite(expected_protein).all()


def test_unknown_batches_take_the_training_mixture(recipe: TotalVI, make_batch: MakeBatch) -> None:
    """A mixture row and an unknown row are the same thing after the encoder."""
    batch = _counts(recipe, make_batch)
    stack = _stack(recipe, batch)
    with torch.no_grad():  # the encoder averages over batches, so take its covariate out
        for layer in stack.encoder.modules():
            if isinstance(layer, StackedLinear):
                layer.condition.zero_()
    unknown = replace(batch, batch_mbe=torch.zeros_like(batch.batch_mbe))
    mixture = replace(
        batch, batch_mbe=stack.batch_prior_me.unsqueeze(1).expand_as(batch.batch_mbe).clone()
    )
    for name, value in stack.terms(unknown, None).items():
        torch.testing.assert_close(value, stack.terms(mixture, None)[name], msg=name)


def test_evaluation_terms_use_the_latents_that_are_exported(
    recipe: TotalVI, make_batch: MakeBatch
) -> None:
    """The inner-validation loss of an unknown batch is that of its marginal encoding."""
    batch = _counts(recipe, make_batch)
    stack = _stack(recipe, batch)
    unknown = replace(batch, batch_mbe=torch.zeros_like(batch.batch_mbe))
    mean, variance = stack.latent(unknown)
    kl = 0.5 * (variance + mean.square() - 1 - variance.log()).sum(-1)
    ours = stack.terms(unknown, None)["kl_z"]
    cells = batch.weight_mb > 0
    torch.testing.assert_close(ours[cells], kl[cells])
