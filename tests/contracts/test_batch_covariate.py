"""The batch covariate: known batches as given, unknown ones averaged, names without meaning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from recart.contracts import CellBatch
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.rna import NegativeBinomial
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack

MakeBatch = Callable[..., CellBatch]


@pytest.fixture
def batch(make_batch: MakeBatch) -> CellBatch:
    return make_batch()


@pytest.fixture
def stack(batch: CellBatch) -> TotalVIStack:
    members, _, genes = batch.x.shape
    sizes = Sizes(genes=genes, proteins=6, receptor=5, batches=(3,) * members)
    own = TotalVI(
        4, 8, JointEncoder(2), 1, 0.2, Masking(0.1), NegativeBinomial(per_batch=True)
    ).stack(sizes, [1, 2, 3])
    with torch.no_grad():
        own.log_efficiency.normal_(generator=torch.Generator().manual_seed(0))
        own.background_prior_mean.normal_(generator=torch.Generator().manual_seed(1))
    for member in range(members):
        own.set_batch_prior(
            member, torch.tensor([[0.5, 0.3, 0.2], [1.0, 0, 0], [0.1, 0, 0.9]])[member]
        )
    return own.double()


def test_unknown_batch_is_the_moment_matched_mixture(batch: CellBatch, stack: TotalVIStack) -> None:
    unknown = replace(batch, batch_mbe=torch.zeros_like(batch.batch_mbe))
    ours = stack.latent(unknown)
    means, variances = [], []
    for e in range(3):
        given = torch.zeros_like(batch.batch_mbe)
        given[..., e] = 1.0
        one = stack.encoder(replace(batch, batch_mbe=given), stack.rna.encode(batch), None)
        means.append(one.mean_mbl)
        variances.append(one.variance_mbl)
    weight = stack.batch_prior_me.T.reshape(3, -1, 1, 1)
    mean = (weight * torch.stack(means)).sum(0)
    # law of total variance, written the other way round
    spread = (weight * (torch.stack(means) - mean).square()).sum(0)
    variance = (weight * torch.stack(variances)).sum(0) + spread
    cells = batch.weight_mb > 0
    torch.testing.assert_close(ours.mean_mbl[cells], mean[cells])
    torch.testing.assert_close(ours.variance_mbl[cells], variance[cells])
    assert not torch.allclose(means[0], means[1])


def test_known_batches_stay_untouched_beside_unknown_ones(
    batch: CellBatch, stack: TotalVIStack
) -> None:
    alone = stack.latent(batch)
    one_hot = batch.batch_mbe.clone()
    one_hot[:, 0] = 0.0
    beside = stack.latent(replace(batch, batch_mbe=one_hot))
    assert torch.equal(beside.mean_mbl[:, 1:], alone.mean_mbl[:, 1:])
    assert torch.equal(beside.variance_mbl[:, 1:], alone.variance_mbl[:, 1:])
    assert not torch.equal(beside.mean_mbl[0, 0], alone.mean_mbl[0, 0])
    # member 1 knows one batch only: unknown is that batch
    first = torch.zeros_like(batch.batch_mbe)
    first[..., 0] = 1.0
    torch.testing.assert_close(
        beside.mean_mbl[1, 0], stack.latent(replace(batch, batch_mbe=first)).mean_mbl[1, 0]
    )


def test_order_of_batch_categories_has_no_meaning(batch: CellBatch, stack: TotalVIStack) -> None:
    order = torch.tensor([2, 0, 1])
    permuted = TotalVIStack(stack.recipe, stack.sizes, 3).double()
    state = stack.state_dict()
    per_batch = {
        name
        for name, tensor in state.items()
        if (name.endswith("condition") and tensor.shape[1])
        or name
        in {
            "rna.dispersion.log_theta",
            "log_efficiency",
            "background_prior_mean",
            "background_prior_log_scale",
            "batch_prior_me",
        }
    }
    permuted.load_state_dict({n: t[:, order] if n in per_batch else t for n, t in state.items()})
    one_hot = batch.batch_mbe.clone()
    one_hot[:, 0] = 0.0  # an unknown one among them
    own, other = (
        replace(batch, batch_mbe=one_hot),
        replace(batch, batch_mbe=one_hot[..., order]),
    )
    torch.testing.assert_close(permuted.latent(other).mean_mbl, stack.latent(own).mean_mbl)
    expected = stack.terms(own, None)
    for name, value in permuted.terms(other, None).items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_a_member_keeps_its_own_batches_only(
    batch: CellBatch, take_member: Callable[..., CellBatch]
) -> None:
    """A member of two batches in company of one of three: its file has two."""
    sizes = Sizes(genes=11, proteins=6, receptor=5, batches=(2, 3, 1))
    recipe = TotalVI(4, 8, JointEncoder(2), 1, 0.2, Masking(0.1), NegativeBinomial(per_batch=True))
    company = recipe.stack(sizes, [1, 2, 3])
    for member, share in enumerate(([0.6, 0.4], [0.2, 0.3, 0.5], [1.0])):
        company.set_batch_prior(member, torch.tensor(share))
    one_hot = torch.zeros_like(batch.batch_mbe)
    one_hot[..., 0] = 1.0
    one_hot[:, 1] = 0.0  # unknown
    batch = replace(batch, batch_mbe=one_hot)
    latents = company.double().latent(batch).mean_mbl
    for member, own in enumerate(sizes.batches):
        alone = TotalVIStack(recipe, replace(sizes, batches=(own,)), 1).double()
        alone.load_state_dict(company.member_state(member))
        single = take_member(batch, member)
        single = replace(single, batch_mbe=single.batch_mbe[..., :own])
        torch.testing.assert_close(alone.latent(single).mean_mbl[0], latents[member])
