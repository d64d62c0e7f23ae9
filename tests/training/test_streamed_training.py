"""Training from disk equals training in memory: features, losses, weights, latents, baselines."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recart.contracts import Member
from recart.data import streaming
from recart.data.bags import Bags
from recart.data.features import FeatureChoice, bind
from recart.data.store import CohortStore, open_store, write_store
from recart.evaluation.baselines.composition import Composition
from recart.evaluation.baselines.pseudobulk import PseudobulkPCA
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.rna import NegativeBinomial
from recart.models.totalvi import TotalVI
from recart.training.encoder_training import EncoderTraining
from recart.training.encoding import encode
from recart.training.jobs import Recipes, restore_stack, train_encoders

RECIPES = Recipes(
    features=FeatureChoice(n_genes=25, exclude=[], prior_cells=10),
    model=TotalVI(4, 8, JointEncoder(1), 1, 0.1, Masking(0.1), NegativeBinomial()),
    training=EncoderTraining(
        epochs=3,
        batch_size=32,
        block=8,
        lr=0.01,
        weight_decay=0.0,
        clip_norm=1.0,
        warmup_epochs=2,
        patience=3,
    ),
)
MEMBERS = [
    Member(
        name="a", fold=0, repeat=0, seed=1, train=(0, 1, 2, 3), validation=(4,), held_out=(5, 6, 7)
    ),
    Member(
        name="b", fold=1, repeat=0, seed=2, train=(3, 5, 6), validation=(7,), held_out=(0, 1, 2)
    ),
]


def _trainer(epochs: int) -> Any:
    import lightning.pytorch as pl

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


@pytest.fixture
def stores(
    make_store: Callable[..., CohortStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[CohortStore, CohortStore]:
    """The same cells in memory and on disk, in many windows."""
    monkeypatch.setattr(streaming, "SLAB", 16)
    monkeypatch.setattr(streaming, "WINDOW", 64)
    monkeypatch.setattr("recart.data.batches.WINDOW", 64)
    write_store(make_store(patients=8, cells=60), tmp_path / "a.zarr")
    return tuple(  # type: ignore[return-value]
        open_store(tmp_path / "a.zarr", in_memory=where) for where in (True, False)
    )


@pytest.mark.slow  # trains two stacks: about 6 s
def test_streaming_equals_memory(
    stores: tuple[CohortStore, CohortStore], make_all_bags: Callable[[CohortStore], Bags]
) -> None:
    memory, disk = stores
    assert memory.path is None
    assert disk.path is not None
    bags = make_all_bags(memory)
    runs = [train_encoders(MEMBERS, store, bags, RECIPES, _trainer) for store in stores]
    for one, other in zip(*runs, strict=True):
        fitted = [
            {f.name: getattr(part, f.name) for part in (own, own.levels) for f in fields(part)}
            for own in (one.features, other.features)
        ]
        for name in fitted[0].keys() - {"levels"}:
            a, b = (own[name] for own in fitted)
            assert a.tobytes() == b.tobytes() if isinstance(a, np.ndarray) else a == b, name
        assert one.history == other.history
        assert one.best_loss == other.best_loss
        for name, tensor in one.state.items():
            assert torch.equal(tensor, other.state[name]), name
        stack = restore_stack(RECIPES.model, one.features, one.state)
        slices = [memory.sample_slice(s) for s in (3, 0, 9)]
        latents = [encode(stack, bind(one.features, store), store, slices) for store in stores]
        assert len(latents[0]) == sum(s.stop - s.start for s in slices)
        np.testing.assert_array_equal(*latents)


@pytest.mark.parametrize("baseline", [Composition(clusters=4, genes=20), PseudobulkPCA(3, 20)])
def test_baselines_from_disk_are_those_of_memory(
    stores: tuple[CohortStore, CohortStore],
    make_all_bags: Callable[[CohortStore], Bags],
    baseline: Any,
) -> None:
    bags = make_all_bags(stores[0])
    train, test = np.arange(6), np.array([6, 7])
    scores = [baseline.fit_predict(store, bags, train, test, seed=0).held_out for store in stores]
    np.testing.assert_array_equal(*scores)
