"""A member's own KL weight, dropout and latent dimensions in a stack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from recart.contracts import CellBatch, MemberSettings
from recart.models.noise import MemberNoise
from recart.models.objective import TermWeights
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack

MakeBatch = Callable[..., CellBatch]
RECIPE = TotalVI(4, 8)
SIZES = Sizes(genes=11, proteins=6, receptor=5, batches=(3, 3, 3))
SETTINGS = [MemberSettings(), MemberSettings(latent=2), MemberSettings(kl_weight=3.0, latent=1)]


def _stack(settings: list[MemberSettings] | None) -> TotalVIStack:
    return RECIPE.stack(SIZES, [1, 2, 3], settings).double()


def test_dimensions_that_a_member_does_not_use_are_the_prior(make_batch: MakeBatch) -> None:
    batch = make_batch()
    stack, plain = _stack(SETTINGS), _stack(None)
    mean, variance = stack.latent(batch)
    whole = plain.latent(batch)
    for member, used in enumerate((4, 2, 1)):
        assert torch.equal(mean[member, :, :used], whole.mean_mbl[member, :, :used])
        assert not mean[member, :, used:].any()
        assert (variance[member, :, used:] == 1).all()
    # they carry no noise either: what reads them gets no gradient
    terms = stack.terms(batch, MemberNoise([1, 2, 3], 0))
    stack.loss(terms, batch.weight_mb, 1.0).sum().backward()
    trunk = stack.decoder.rna_trunk.first.linear.weight.grad
    assert trunk is not None
    assert trunk[0, 3].any()
    assert trunk[1, 1].any()
    assert not trunk[1, 2:].any()
    assert not trunk[2, 1:].any()


def test_the_kl_weight_scales_the_divergence_of_z_alone(make_batch: MakeBatch) -> None:
    batch = make_batch()
    stack = _stack(SETTINGS)
    terms = stack.terms(batch, None)
    weighted = stack.loss(terms, batch.weight_mb, 0.5)
    stack.kl_weight_m.fill_(1.0)
    plain = stack.loss(terms, batch.weight_mb, 0.5)
    kl = (terms["kl_z"] * batch.weight_mb).sum(-1) / batch.weight_mb.sum(-1)
    torch.testing.assert_close(weighted - plain, 0.5 * torch.tensor([0.0, 0.0, 2.0]) * kl)


def test_the_recipes_kl_weight_is_that_of_members_without_one(make_batch: MakeBatch) -> None:
    batch = make_batch()
    recipe = replace(RECIPE, weights=TermWeights(kl=0.25))
    by_recipe = recipe.stack(SIZES, [1, 2, 3], SETTINGS).double()
    weights = (0.25, 0.25, 3.0)
    own = [replace(one, kl_weight=kl) for one, kl in zip(SETTINGS, weights, strict=True)]
    first, second, other = (
        stack.loss(stack.terms(batch, None), batch.weight_mb, 0.5)
        for stack in (by_recipe, _stack(own), _stack(SETTINGS))
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_dropout_is_each_members_own(make_batch: MakeBatch) -> None:
    batch = make_batch()
    own = [MemberSettings(dropout=0.0), MemberSettings(), MemberSettings(dropout=0.9)]
    stack, plain = _stack(own), _stack(None)
    noise = [MemberNoise([1, 2, 3], 0) for _ in range(2)]
    first, second = stack.terms(batch, noise[0])["rna"], plain.terms(batch, noise[1])["rna"]
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(first[2], second[2])


def test_a_state_knows_the_dimensions_in_use() -> None:
    state = _stack(SETTINGS).member_state(1)
    assert state["latent_mask_ml"].tolist() == [[True, True, False, False]]
    assert "kl_weight_m" not in state  # of training only


def test_more_dimensions_than_the_model_has_are_refused() -> None:
    with pytest.raises(ValueError, match=r"5 latent dimensions; the model has 4.*model\.latent"):
        _stack([MemberSettings(latent=5)])


@pytest.mark.parametrize("bad", [{"lr": 0.0}, {"kl_weight": -1.0}, {"dropout": 1.0}, {"latent": 0}])
def test_values_out_of_range_are_refused(bad: dict[str, float]) -> None:
    (name,) = bad
    with pytest.raises(ValueError, match=name):
        MemberSettings(**bad)  # type: ignore[arg-type]
