"""A member trained in company equals the member trained alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from recart.contracts import Member
from recart.data.bags import Bags
from recart.data.features import FeatureChoice
from recart.data.store import CohortStore
from recart.models.rna import NegativeBinomial, Normal, Poisson, ZeroInflated
from recart.models.rna_likelihood import RnaLikelihood
from recart.models.totalvi import TotalVI
from recart.training.encoder_training import EncoderTraining
from recart.training.jobs import Recipes, TrainedEncoder, train_encoders


def _trainer(epochs: int) -> Any:
    import lightning.pytorch as pl

    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        precision="64-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _members() -> list[Member]:
    # members of different sizes, sharing patients, with different batches in training
    return [
        Member(
            name="a",
            fold=0,
            repeat=0,
            seed=1,
            train=(0, 1, 2, 3),
            validation=(4, 5),
            held_out=(6, 7),
        ),
        Member(
            name="b",
            fold=1,
            repeat=0,
            seed=2,
            train=(2, 3, 4, 5, 6, 7),
            validation=(0, 1),
            held_out=(),
        ),
        Member(
            name="c", fold=2, repeat=0, seed=3, train=(6, 7), validation=(2, 3), held_out=(0, 1)
        ),
    ]


def _train(
    members: list[Member], store: CohortStore, bags: Bags, rna: RnaLikelihood
) -> list[TrainedEncoder]:
    recipes = Recipes(
        features=FeatureChoice(n_genes=30, exclude=[], prior_cells=10),
        model=TotalVI(4, 8, 2, 1, 0.2, 0.2, rna),
        training=EncoderTraining(
            epochs=3,
            batch_size=32,
            block=8,
            lr=0.01,
            weight_decay=1e-3,
            clip_norm=1.0,
            warmup_epochs=2,
            patience=2,
        ),
    )
    return train_encoders(members, store, bags, recipes, _trainer)


@pytest.mark.slow  # trains four stacks: about 10 s
@pytest.mark.parametrize(
    "rna",
    [NegativeBinomial(), NegativeBinomial(per_batch=True), ZeroInflated(), Poisson(), Normal()],
    ids=["nb", "nb-per-batch", "zinb", "poisson", "normal"],
)
def test_together_equals_alone(
    rna: RnaLikelihood,
    make_store: Callable[..., CohortStore],
    make_all_bags: Callable[[CohortStore], Bags],
) -> None:
    store = make_store(patients=8)
    bags = make_all_bags(store)
    together = _train(_members(), store, bags, rna)
    for member, company in zip(_members(), together, strict=True):
        (alone,) = _train([member], store, bags, rna)
        assert alone.features.spec == company.features.spec
        assert alone.best_epoch == company.best_epoch
        assert alone.best_loss == pytest.approx(company.best_loss, rel=1e-9)
        assert alone.state.keys() == company.state.keys()
        for name, tensor in alone.state.items():
            torch.testing.assert_close(company.state[name], tensor, rtol=1e-7, atol=1e-9, msg=name)


def test_members_differ_and_training_lowers_the_loss(
    make_store: Callable[..., CohortStore], make_all_bags: Callable[[CohortStore], Bags]
) -> None:
    store = make_store(patients=8)
    trained = _train(_members(), store, make_all_bags(store), NegativeBinomial())
    weights = [own.state["encoder.mean.weight"].numpy() for own in trained]
    assert not np.allclose(weights[0], weights[1])
    for own in trained:
        bounds = [row["elbo_validation"] for row in own.history]
        assert max(bounds) > bounds[0]
