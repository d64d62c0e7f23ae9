"""Joint training that is killed goes on to the same bits as one that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from recart.contracts import Member, MemberSettings
from recart.data.bags import Bags
from recart.data.features import FeatureChoice
from recart.data.store import CohortStore
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.rna import NegativeBinomial
from recart.models.totalvi import TotalVI
from recart.training.encoder_training import EncoderTraining
from recart.training.jobs import Recipes, TrainedEncoder, train_encoders
from recart.training.joint_training import JointTraining
from recart.training.module import StackModule
from recart.training.states import States
from recart.training.trainer import TrainerSettings, quiet_lightning

EPOCHS = 4
RECIPES = Recipes(
    features=FeatureChoice(n_genes=1000, exclude=[], prior_cells=5),
    model=TotalVI(4, 8, JointEncoder(1), 1, 0.1, Masking(0.1), NegativeBinomial()),
    training=EncoderTraining(
        epochs=EPOCHS,
        batch_size=64,
        block=8,
        lr=0.03,
        weight_decay=1e-6,
        clip_norm=1.0,
        warmup_epochs=1,
        patience=1,
        joint=JointTraining(weight=20.0, lent=0.5, prototypes=4, shrinkage=2.0),
    ),
)
# the second learns nothing: it stops early, and its bag term leaves the stack with it
PATIENTS = {"train": tuple(range(10)), "validation": (10, 11, 12, 13), "held_out": (14, 15)}
MEMBERS = [
    Member(name="r0f0", fold=0, repeat=0, seed=5, **PATIENTS),
    Member(name="r0f1", fold=1, repeat=0, seed=6, settings=MemberSettings(lr=1e-12), **PATIENTS),
]
SETTINGS = TrainerSettings(accelerator="cpu", devices=1, precision="32-true", deterministic=False)
Train = Callable[[States | None], list[TrainedEncoder]]


class Killed(BaseException):
    """Where a process would have been killed."""


@pytest.fixture
def train(
    make_store: Callable[..., CohortStore],
    make_all_bags: Callable[[CohortStore], Bags],
    tmp_path: Path,
) -> Iterator[Train]:
    store = make_store(patients=16, cells=12)
    bags, before = make_all_bags(store), torch.get_num_threads()
    torch.set_num_threads(1)

    def run(states: States | None) -> list[TrainedEncoder]:
        return train_encoders(
            MEMBERS,
            store,
            bags,
            RECIPES,
            lambda epochs: SETTINGS.make(epochs, [], [], tmp_path),
            states,
        )

    with quiet_lightning():
        yield run
    torch.set_num_threads(before)


@pytest.mark.slow
def test_goes_on_where_it_was_killed(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, inside, steps = train(None), StackModule.training_step, 0
    assert len({len(own.history) for own in expected}) == 2, (
        "one member is to stop before the other"
    )

    def counted(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps in kills:
            raise Killed
        return inside(*arguments)

    def states() -> States:
        return States(folder=tmp_path, belongs={"cohort": "x"}, every=0.0)

    # in the middle of an epoch, and after the second member has left
    kills = {2, 8}
    monkeypatch.setattr(StackModule, "training_step", counted)
    for _ in kills:
        with pytest.raises(Killed):
            train(states())
    found = train(states())
    for one, other in zip(expected, found, strict=True):
        assert one.history == other.history
        assert "train_response" in one.history[0]
        assert (one.best_epoch, one.best_loss, one.lent) == (
            other.best_epoch,
            other.best_loss,
            other.lent,
        )
        for name, weight in one.state.items():
            assert torch.equal(weight, other.state[name]), name
