"""Small members with random weights, and one that was trained on a simulated cohort."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from recart.data.features import FeatureChoice, Features, bind
from recart.data.store import CohortStore
from recart.inference.outputs.member_outputs import MemberOutputs
from recart.models.rna import NegativeBinomial
from recart.models.rna_likelihood import RnaLikelihood
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack

GENES, PROTEINS = 30, 7


def features_of(store: CohortStore, samples: Sequence[int], genes: int = GENES) -> Features:
    """Features fitted to the cells of some samples."""
    cells = np.flatnonzero(np.isin(store.cells["sample"], samples))
    return FeatureChoice(n_genes=genes, exclude=(), prior_cells=20).fit(store, cells, 0)


def stack_of(features: Features, seed: int, rna: RnaLikelihood) -> TotalVIStack:
    """A member with random weights, in which every weight matters."""
    spec = features.spec
    sizes = Sizes(
        genes=len(spec.genes),
        proteins=len(spec.proteins),
        receptor=spec.receptor_dim,
        batches=(len(spec.batches),),
    )
    stack = TotalVI(latent=4, hidden=16, rna=rna).stack(sizes, seeds=[seed])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    stack.set_background_prior(
        0, torch.from_numpy(features.background_mean), torch.from_numpy(features.background_scale)
    )
    stack.set_batch_prior(0, torch.from_numpy(features.batch_share))
    return stack


@pytest.fixture
def make_outputs(make_store: Callable[..., CohortStore]) -> Callable[..., MemberOutputs]:
    """`make_outputs(store=None, samples=None, seed=0, rna=NegativeBinomial(), chunk=1024)`.

    A member with random weights whose features were fitted to the cells of `samples` (None: all).
    """

    def make(
        store: CohortStore | None = None,
        samples: Sequence[int] | None = None,
        seed: int = 0,
        rna: RnaLikelihood | None = None,
        chunk: int = 1024,
    ) -> MemberOutputs:
        store = make_store(patients=4, cells=30) if store is None else store
        chosen = range(len(store.samples)) if samples is None else samples
        features = features_of(store, list(chosen))
        stack = stack_of(features, seed, NegativeBinomial() if rna is None else rna)
        return MemberOutputs(stack, bind(features, store), store, chunk)

    return make


@dataclass(frozen=True)
class Trained:
    """A member trained on a simulated cohort without effects, and what it does not know."""

    outputs: MemberOutputs
    population: np.ndarray[Any, Any]


@pytest.fixture(scope="session")
def scvi_weights() -> ModuleType:
    """How weights are copied between scvi-tools and recart: the tools of the tests of the loss."""
    path = Path(__file__).parents[1] / "models" / "conftest.py"
    spec = importlib.util.spec_from_file_location("scvi_weights", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up
    import sys

    sys.modules["scvi_weights"] = module
    spec.loader.exec_module(module)
    return module
