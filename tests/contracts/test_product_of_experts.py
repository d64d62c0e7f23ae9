"""The product of experts is the product of Gaussians, and a missing modality has no say in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal

from recart.contracts import CellBatch
from recart.models.product_of_experts import ProductOfExperts
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack

MakeBatch = Callable[..., CellBatch]


@pytest.fixture
def batch(make_batch: MakeBatch) -> CellBatch:
    return make_batch()


@pytest.fixture
def stack() -> TotalVIStack:
    sizes = Sizes(genes=11, proteins=6, receptor=5, batches=(3, 3, 3))
    own = TotalVI(4, 8, ProductOfExperts(2)).stack(sizes, [1, 2, 3]).double()
    with torch.no_grad():
        own.encoder.missing.normal_(generator=torch.Generator().manual_seed(0))
    return own


def without(batch: CellBatch, *modalities: str) -> CellBatch:
    hidden = {"protein": "y_mask_mba", "receptor": "r_measured_mb", "rna": "x_mask_mg"}
    for modality in modalities:
        batch = replace(batch, **{hidden[modality]: getattr(batch, hidden[modality]) & False})
    return batch


def test_the_posterior_is_the_product_of_the_experts_and_the_prior(
    batch: CellBatch, stack: TotalVIStack
) -> None:
    """Each expert by itself is read off the posterior of its modality: divide the prior out."""
    batch = replace(batch, r_measured_mb=batch.r_measured_mb | True)
    whole = stack.latent(batch)
    z = torch.linspace(-4, 4, 4001, dtype=torch.float64)[:, None, None, None]
    prior = Normal(0.0, 1.0).log_prob(z)
    total = prior
    for one, others in {
        "rna": ("protein", "receptor"),
        "protein": ("rna", "receptor"),
        "receptor": ("rna", "protein"),
    }.items():
        mean, variance = stack.latent(without(batch, *others))
        assert (variance < 1).all(), one
        total = total + Normal(mean, variance.sqrt()).log_prob(z) - prior
    density = torch.softmax(total, 0)
    mean = (density * z).sum(0)
    variance = (density * (z - mean).square()).sum(0)
    has_protein = batch.y_mask_mba.any(-1)
    torch.testing.assert_close(mean[has_protein], whole.mean_mbl[has_protein], rtol=0, atol=1e-4)
    torch.testing.assert_close(variance, whole.variance_mbl, rtol=1e-3, atol=1e-5)


def test_with_nothing_measured_the_posterior_is_the_prior(
    batch: CellBatch, stack: TotalVIStack
) -> None:
    mean, variance = stack.latent(without(batch, "rna", "protein", "receptor"))
    assert not mean.any()
    assert (variance == 1).all()


def test_more_modalities_make_it_surer(batch: CellBatch, stack: TotalVIStack) -> None:
    rna = stack.latent(without(batch, "protein", "receptor")).variance_mbl
    two = stack.latent(without(batch, "receptor")).variance_mbl
    measured = batch.y_mask_mba.any(-1)
    assert (two[measured] < rna[measured]).all()


def test_values_of_a_missing_modality_are_not_read(batch: CellBatch, stack: TotalVIStack) -> None:
    hidden = without(batch, "protein", "receptor")
    changed = replace(hidden, y_mba=hidden.y_mba + 7, r_mbt=hidden.r_mbt - 3)
    assert torch.equal(stack.latent(changed).mean_mbl, stack.latent(hidden).mean_mbl)
