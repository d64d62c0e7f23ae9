"""Several devices, here two processes on a CPU: the same result as in one process."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

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
from recart.training.reporting_logger import ReportingLogger
from recart.training.trainer import TrainerSettings, quiet_lightning

pytestmark = pytest.mark.slow  # starts processes that import Lightning

ONE = TrainerSettings(accelerator="cpu", devices=1, precision="64-true", deterministic=False)
DEALT = replace(ONE, devices=2, strategy="dealt")
DDP = replace(ONE, devices=2, strategy="ddp")
RECIPES = Recipes(
    features=FeatureChoice(n_genes=30, exclude=[], prior_cells=10),
    model=TotalVI(4, 8, JointEncoder(2), 1, 0.2, Masking(0.2, 0.1, 0.1), NegativeBinomial()),
    training=EncoderTraining(
        epochs=6,
        batch_size=40,
        block=8,
        lr=0.01,
        weight_decay=1e-3,
        clip_norm=1.0,
        warmup_epochs=2,
        patience=1,
    ),
)
ALONE = Member(
    name="a", fold=0, repeat=0, seed=1, train=(0, 1, 2, 3), validation=(4, 5), held_out=(6, 7)
)
# of different sizes; one of them stops in the middle, and leaves the stack
STACK = [
    ALONE,
    Member(
        name="b",
        fold=1,
        repeat=0,
        seed=2,
        train=(6, 7),
        validation=(2, 3),
        held_out=(0, 1),
        settings=MemberSettings(lr=0.02, dropout=0.0),
    ),
    Member(name="c", fold=2, repeat=0, seed=3, train=(2, 3, 4, 5, 6), validation=(0, 1), held_out=()),
]
TIMEOUT = 90  # seconds


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """Fail instead of waiting for a process that waits for another; leave none behind."""

    def fail(*_: Any) -> None:
        raise TimeoutError(f"not done in {TIMEOUT} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(TIMEOUT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


class Trained:
    """What a training gave: encoders, and what was reported."""

    def __init__(
        self,
        settings: TrainerSettings,
        members: list[Member],
        store: CohortStore,
        bags: Bags,
        folder: Path,
        callbacks: tuple[Callback, ...] = (),
    ) -> None:
        self.reports: list[Any] = []
        logger = ReportingLogger(self.reports.append)
        with quiet_lightning():
            self.encoders: list[TrainedEncoder] = train_encoders(
                members,
                store,
                bags,
                RECIPES,
                lambda epochs: settings.make(epochs, [logger], callbacks, folder),
            )


def assert_same(found: Trained, expected: Trained, rtol: float) -> None:
    for one, other in zip(found.encoders, expected.encoders, strict=True):
        assert one.member == other.member
        assert one.best_epoch == other.best_epoch
        assert one.best_loss == pytest.approx(other.best_loss, rel=rtol)
        assert one.state.keys() == other.state.keys()
        for name, tensor in other.state.items():
            torch.testing.assert_close(
                one.state[name], tensor, rtol=rtol, atol=rtol / 10, msg=f"{one.member.name} {name}"
            )
        assert len(one.history) == len(other.history)
        for row, expected_row in zip(one.history, other.history, strict=True):
            assert row.keys() == expected_row.keys()
            for key, value in expected_row.items():
                assert row[key] == (pytest.approx(value, rel=rtol, abs=1e-9) if key != "member" else value)
    assert [own.epoch for own in found.reports] == [own.epoch for own in expected.reports]
    for one, other in zip(found.reports, expected.reports, strict=True):
        assert one.members_done == other.members_done
        assert one.means.keys() == other.means.keys()


@pytest.fixture
def cohort(
    make_store: Callable[..., CohortStore], make_all_bags: Callable[[CohortStore], Bags]
) -> tuple[CohortStore, Bags]:
    store = make_store(patients=8)
    return store, make_all_bags(store)


@pytest.mark.parametrize("members", [[ALONE], STACK], ids=["alone", "stack"])
def test_cells_over_two_processes(
    members: list[Member], cohort: tuple[CohortStore, Bags], tmp_path: Path
) -> None:
    found = Trained(DDP, members, *cohort, tmp_path)
    expected = Trained(ONE, members, *cohort, tmp_path)
    assert_same(found, expected, rtol=1e-7)
