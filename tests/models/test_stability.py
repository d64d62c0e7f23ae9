"""Terms, gradients and latents stay finite where counts are extreme, missing or all zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from recart.contracts import CellBatch, SparseRows
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.noise import MemberNoise
from recart.models.rna import NegativeBinomial, Poisson, ZeroInflated
from recart.models.rna_likelihood import RnaLikelihood
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack
from recart.training.optimizer import StackedAdam

CELLS, GENES, PROTEINS, BATCHES = 12, 30, 6, 3
RNA = pytest.mark.parametrize(
    "rna",
    [
        NegativeBinomial(),
        NegativeBinomial(per_batch=True),
        NegativeBinomial(bfloat16=True),
        ZeroInflated(),
        Poisson(),
    ],
    ids=["nb", "nb-per-batch", "nb-bfloat16", "zinb", "poisson"],
)


@dataclass
class Counts:
    """Counts of one minibatch, to be spoilt."""

    x: Tensor
    y: Tensor
    x_mask: Tensor
    y_mask: Tensor
    batch: Tensor

    @classmethod
    def ordinary(cls, cells: int = CELLS) -> Counts:
        g = torch.Generator().manual_seed(0)
        return cls(
            x=torch.poisson(torch.rand(cells, GENES, generator=g) * 3, g),
            y=torch.poisson(torch.rand(cells, PROTEINS, generator=g) * 40, g),
            x_mask=torch.ones(GENES, dtype=torch.bool),
            y_mask=torch.ones(cells, PROTEINS, dtype=torch.bool),
            batch=torch.arange(cells) % BATCHES,
        )

    def minibatch(self) -> CellBatch:
        n = len(self.x)
        return CellBatch(
            x=SparseRows.from_dense((self.x * self.x_mask)[None]),
            x_mask_mg=self.x_mask[None],
            x_seen_mb=torch.ones(1, n, dtype=torch.bool),
            y_mba=(self.y * self.y_mask)[None],
            y_mask_mba=self.y_mask[None],
            r_mbt=torch.zeros(1, n, 0),
            r_mask_mb=torch.zeros(1, n, dtype=torch.bool),
            r_measured_mb=torch.zeros(1, n, dtype=torch.bool),
            r_weight_mb=torch.zeros(1, n),
            batch_mbe=torch.nn.functional.one_hot(self.batch[None], BATCHES).float(),
            weight_mb=torch.ones(1, n),
            active=(True,),
        )


def _ordinary() -> Counts:
    return Counts.ordinary()


def _protein_all_zero() -> Counts:
    counts = Counts.ordinary()
    counts.y[:, 2] = 0
    return counts


def _cell_without_protein() -> Counts:
    counts = Counts.ordinary()
    counts.y[3] = 0
    return counts


def _batch_without_protein() -> Counts:
    counts = Counts.ordinary()
    counts.y[counts.batch == 1] = 0
    return counts


def _nothing_but_zeros() -> Counts:
    counts = Counts.ordinary()
    counts.x[:], counts.y[:] = 0, 0
    return counts


def _cells_empty_after_masking() -> Counts:
    counts = Counts.ordinary()
    counts.x_mask[5:] = False
    counts.x[2:6, :5] = 0
    return counts


def _no_gene_left() -> Counts:
    counts = Counts.ordinary()
    counts.x_mask[:] = False
    return counts


def _no_protein_measured() -> Counts:
    counts = Counts.ordinary()
    counts.y_mask[:] = False
    return counts


def _one_cell() -> Counts:
    return Counts.ordinary(cells=1)


def _batch_of_one_cell() -> Counts:
    counts = Counts.ordinary()
    counts.batch[:] = 0
    counts.batch[4] = 2
    return counts


def _counts_to_a_million() -> Counts:
    counts = Counts.ordinary()
    counts.x[0, 0] = counts.y[1, 1] = 1e6
    counts.x[2], counts.y[2] = 1e6, 1e6
    return counts


def _extreme_depths() -> Counts:
    counts = Counts.ordinary()
    counts.x[:6] *= 1e5
    counts.x[6:] = 0
    counts.x[6:, 0] = 1
    return counts


def _gene_in_one_cell() -> Counts:
    counts = Counts.ordinary()
    counts.x[:, 7:] = 0
    counts.x[0, 7] = 1
    return counts


SITUATIONS = [
    _ordinary,
    _protein_all_zero,
    _cell_without_protein,
    _batch_without_protein,
    _nothing_but_zeros,
    _cells_empty_after_masking,
    _no_gene_left,
    _no_protein_measured,
    _one_cell,
    _batch_of_one_cell,
    _counts_to_a_million,
    _extreme_depths,
    _gene_in_one_cell,
]
SITUATION = pytest.mark.parametrize(
    "situation", SITUATIONS, ids=[own.__name__.strip("_") for own in SITUATIONS]
)


def _stack(rna: RnaLikelihood) -> TotalVIStack:
    sizes = Sizes(genes=GENES, proteins=PROTEINS, receptor=0, batches=(BATCHES,))
    stack = TotalVI(4, 16, JointEncoder(2), 1, 0.1, Masking(0.1), rna).stack(sizes, [0])
    stack.set_batch_prior(0, torch.full((BATCHES,), 1 / BATCHES))
    return stack


def _finite(named: dict[str, Tensor]) -> None:
    bad = [name for name, value in named.items() if not torch.isfinite(value).all()]
    assert not bad


@RNA
@SITUATION
def test_everything_stays_finite_while_training(
    situation: Callable[[], Counts], rna: RnaLikelihood
) -> None:
    batch, stack = situation().minibatch(), _stack(rna)
    # a step far beyond what is advised: what overflows, overflows soon
    optimizer = StackedAdam(stack.parameters(), lr_m=[0.02], weight_decay=0.0, clip_norm=None)
    before = stack.loss(stack.terms(batch, None), batch.weight_mb, 1.0).item()
    for step in range(10):
        terms = stack.terms(batch, MemberNoise([0], step))
        _finite(terms)
        optimizer.zero_grad()
        stack.loss(terms, batch.weight_mb, 1.0).sum().backward()
        _finite({n: p.grad for n, p in stack.named_parameters() if p.grad is not None})
        optimizer.step()
    _finite(dict(stack.named_parameters()))
    with torch.no_grad():
        terms, posterior = stack.terms(batch, None), stack.latent(batch)
        rna_mean, protein_mean = stack.expected(batch)
    _finite({**terms, "mean": posterior.mean_mbl, "variance": posterior.variance_mbl})
    _finite({"rna": rna_mean, "protein": protein_mean})
    assert stack.loss(terms, batch.weight_mb, 1.0).item() < before
    assert (posterior.variance_mbl > 0).all()


@RNA
def test_cells_of_unknown_batch_and_no_counts(rna: RnaLikelihood) -> None:
    batch = _nothing_but_zeros().minibatch()
    batch.batch_mbe.zero_()
    stack = _stack(rna)
    _finite(stack.terms(batch, None))
    _finite(stack.latent(batch)._asdict())


@pytest.mark.parametrize(
    "situation",
    [own for own in SITUATIONS if own not in (_nothing_but_zeros, _no_gene_left)],
    ids=lambda own: own.__name__.strip("_"),
)
def test_half_precision_is_near(situation: Callable[[], Counts]) -> None:
    """Products in bfloat16, alone in the gene head or in the whole model under autocast."""
    batch = situation().minibatch()
    whole, half = _stack(NegativeBinomial()), _stack(NegativeBinomial(bfloat16=True))
    with torch.no_grad():
        exact = whole.terms(batch, MemberNoise([0], 1))
        head = half.terms(batch, MemberNoise([0], 1))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cast = whole.terms(batch, MemberNoise([0], 1))
    for name in ("protein", "kl_z", "kl_background"):  # the gene head has no part in them
        torch.testing.assert_close(head[name], exact[name], rtol=0, atol=0, msg=name)
    # bfloat16 keeps three digits, of logits and so of log probabilities
    torch.testing.assert_close(head["rna"], exact["rna"], rtol=0.02, atol=1.0)
    for name, value in exact.items():
        assert torch.isfinite(cast[name]).all()
        torch.testing.assert_close(
            cast[name].float(), value, rtol=0.05, atol=2.0, msg=lambda m, n=name: f"{n}: {m}"
        )
