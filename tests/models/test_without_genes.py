"""Cells of proteins alone: no RNA term, and never all proteins hidden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from recart.contracts import CellBatch
from recart.data.batches import gather
from recart.data.features import FeatureChoice, bind
from recart.data.store import CohortStore
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.noise import MemberNoise
from recart.models.product_of_experts import ProductOfExperts
from recart.models.rna import NegativeBinomial, Normal, Poisson, ZeroInflated
from recart.models.totalvi import Sizes, TotalVI

MODEL = TotalVI(4, 8, JointEncoder(1), 1, 0.1, Masking(0.9, genes=0.2, panel=0.2))


@pytest.fixture
def batch(make_store: Callable[..., CohortStore]) -> CellBatch:
    whole = make_store(patients=4)
    cells = whole.cells.assign(n_counts=np.float32(0), n_genes=np.int32(0))
    rna = sparse.csr_matrix((len(cells), 0), dtype=np.uint16)
    store = replace(whole, rna=rna, genes=(), cells=pd.DataFrame(cells), receptor=None, clones=None)
    rows = np.arange(40)
    features = FeatureChoice(n_genes=10, exclude=[], prior_cells=5).fit(store, rows, 0)
    assert features.spec.genes == ()
    return gather(store, [bind(features, store)] * 2, [rows, rows], width=48)


def _sizes(batch: CellBatch) -> Sizes:
    return Sizes(
        genes=0,
        proteins=7,
        receptor=batch.r_mbt.shape[-1],
        batches=(batch.batch_mbe.shape[-1],) * 2,
    )


@pytest.mark.parametrize("encoder", [JointEncoder(1), ProductOfExperts(1)], ids=type)
@pytest.mark.parametrize(
    "rna", [NegativeBinomial(), ZeroInflated(), Poisson(), Normal()], ids=lambda own: str(type(own))
)
def test_proteins_alone_train(batch: CellBatch, encoder: object, rna: object) -> None:
    model = replace(MODEL, encoder=encoder, rna=rna)  # type: ignore[arg-type]
    stack = model.stack(_sizes(batch), [0, 1])
    terms = stack.terms(batch, MemberNoise([0, 1], 0))
    assert (terms["rna"] == 0).all()
    stack.loss(terms, batch.weight_mb, 1.0).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in stack.parameters() if p.grad is not None and p.numel()]
    assert all(torch.isfinite(own).all() for own in gradients)
    assert any((own != 0).any() for own in gradients)
    latent = stack.eval().latent(batch)
    assert torch.isfinite(latent.mean_mbl).all()
    expected_rna, expected_protein = stack.expected(batch)
    assert expected_rna.shape == (2, 48, 0)
    assert torch.isfinite(expected_protein).all()


def test_proteins_are_not_hidden_where_nothing_else_is(batch: CellBatch) -> None:
    seen = Masking(0.9).hide(batch, (0, 0), MemberNoise([0, 1], 0))
    assert torch.equal(seen.y_mask_mba, batch.y_mask_mba)
