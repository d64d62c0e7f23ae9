"""A step that is recorded on a card and replayed trains as one that is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recart.contracts import Member, MemberSettings
from recart.data.bags import Admission, make_bags
from recart.data.features import FeatureChoice
from recart.data.store import CohortStore
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.rna import NegativeBinomial
from recart.models.totalvi import TotalVI
from recart.training.encoder_training import EncoderTraining
from recart.training.jobs import Recipes, TrainedEncoder, train_encoders
from recart.training.trainer import TrainerSettings, quiet_lightning

TRAINING = EncoderTraining(
    epochs=6,
    batch_size=32,
    block=8,
    lr=0.01,
    weight_decay=1e-6,
    clip_norm=1.0,
    warmup_epochs=2,
    patience=2,
)
MODEL = TotalVI(4, 16, JointEncoder(1), 1, 0.1, Masking(0.1, 0.1, 0.1), NegativeBinomial())
CHOICE = FeatureChoice(n_genes=1000, exclude=[], prior_cells=5)


def _train(store: CohortStore, precision: str, record: bool) -> list[TrainedEncoder]:
    labels = (store.patients["response"] == "R").astype(float)
    bags = make_bags(store, labels, unit="patient", admission=Admission())
    own = [MemberSettings(), MemberSettings(lr=0.03, kl_weight=0.5, dropout=0.3)]
    members = [
        Member(
            name=f"m{m}",
            fold=m,
            repeat=0,
            seed=m,
            train=(0, 1, 2)[: 3 - m],
            validation=(3,),
            held_out=(4, 5),
            settings=own[m],
        )
        for m in range(2)
    ]
    settings = TrainerSettings(
        accelerator="gpu", devices=1, precision=precision, deterministic=False
    )
    recipes = Recipes(features=CHOICE, model=MODEL, training=replace(TRAINING, record=record))
    with quiet_lightning():
        return train_encoders(
            members, store, bags, recipes, lambda epochs: settings.make(epochs, [], [], Path())
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="records on a CUDA device; none is here")
@pytest.mark.parametrize(("precision", "close"), [("32-true", 1e-3), ("bf16-mixed", 2e-2)])
def test_replayed_steps_train_as_steps_that_are_run(
    make_store: Callable[..., CohortStore], precision: str, close: float
) -> None:
    """Atomic sums differ in their last digits from run to run, so not to the bit."""
    store = make_store(patients=6)
    run, replayed = (_train(store, precision, record) for record in (False, True))
    for one, other in zip(run, replayed, strict=True):
        assert len(one.history) == len(other.history)
        for before, after in zip(one.history, other.history, strict=True):
            assert after["elbo_train"] == pytest.approx(before["elbo_train"], rel=close)
            assert after["elbo_validation"] == pytest.approx(before["elbo_validation"], rel=close)
