"""Small members with random weights, and one that was trained on a simulated cohort."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from recart.config.build import build
from recart.config.compose import compose
from recart.contracts import Member
from recart.data.features import FeatureChoice, Features, bind
from recart.data.store import CohortStore
from recart.inference.outputs.member_outputs import MemberOutputs
from recart.models.rna import NegativeBinomial
from recart.models.rna_likelihood import RnaLikelihood
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack
from recart.training.cohort_setup import prepare_cohort
from recart.training.jobs import restore_stack, train_encoders
from recart.training.launch import recipes

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


@pytest.fixture(scope="session")
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
    """Members trained on a simulated cohort with planted differences, and where they are.

    Of the cells (rows of the store) a random half is `first`. `kind` are their true populations.
    The `planted` genes are nine times rarer in one of the halves; nothing else differs. The last
    two patients are `held_out` of every member.
    """

    members: list[MemberOutputs]
    first: np.ndarray
    kind: np.ndarray
    planted: frozenset[str]
    held_out: np.ndarray


def plant(store: CohortStore, kind: np.ndarray) -> tuple[CohortStore, np.ndarray, frozenset[str]]:
    """Thin forty of the genes that monocytes express to a ninth, half of them in either half."""
    rng = np.random.default_rng(1)
    first = rng.random(len(kind)) < 0.5
    mean = np.asarray(store.rna[:][kind == "CD14 Mono"].mean(axis=0)).ravel()
    planted = rng.choice(np.argsort(-mean)[:150], 40, replace=False)
    counts = store.rna[:].tocoo()
    thinned = np.where(first[counts.row], 1, 2) == np.select(
        [np.isin(counts.col, planted[:20]), np.isin(counts.col, planted[20:])], [1, 2], 0
    )
    counts.data[thinned] = rng.binomial(counts.data[thinned], 1 / 9)
    rna = counts.tocsr()
    rna.eliminate_zeros()
    return replace(store, rna=rna), first, frozenset(store.genes[g] for g in planted)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Three members of a cohort of ten patients."""
    from recart.training.trainer import quiet_lightning

    folder = tmp_path_factory.mktemp("outputs")
    settings = ["data.reader.patients=10", "data.reader.cells_per_sample=150"]
    settings += ["data.reader.genes=400", "data/receptors=none", "features.n_genes=350"]
    settings += ["training.epochs=60", "training.warmup_epochs=5", "training.lr=0.004"]
    config = compose([*settings, "model.hidden=64", "data.limits.min_cells=5"])
    prepared = prepare_cohort(config.data, folder, lambda _: None)
    _, truth = build(config.data.reader).simulate()
    kind = truth.cells["population"].to_numpy()[prepared.store.cells["source"].to_numpy()]
    store, first, planted = plant(prepared.store, kind)
    members = [
        Member(
            name=f"m{own}",
            fold=0,
            repeat=own,
            seed=own + 1,
            train=tuple(p for p in range(8) if p != own),
            validation=(own,),
            held_out=(8, 9),
        )
        for own in range(3)
    ]
    trainer, made = build(config.trainer), recipes(config)
    with quiet_lightning():
        encoders = train_encoders(
            members, store, prepared.bags, made, lambda n: trainer.make(n, [], [], folder)
        )
    outputs = []
    for own in encoders:
        stack = restore_stack(made.model, own.features, own.state)
        outputs.append(MemberOutputs(stack, bind(own.features, store), store))
    held_out = np.flatnonzero(store.cells["patient"].to_numpy() >= 8)
    return Trained(outputs, first, kind, planted, held_out)


@pytest.fixture(scope="session")
def scvi_weights() -> ModuleType:
    """How weights are copied between scvi-tools and recart: the tools of the tests of the loss."""
    path = Path(__file__).parents[1] / "models" / "conftest.py"
    spec = importlib.util.spec_from_file_location("scvi_weights", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scvi_weights"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
