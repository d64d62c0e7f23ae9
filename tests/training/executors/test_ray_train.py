"""One training over two workers of a Ray cluster: the same result as in one process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
import torch

from recart.contracts import Member
from recart.data.bags import Bags
from recart.data.features import FeatureChoice
from recart.data.store import CohortStore, open_store, write_store
from recart.interruption import Interrupted, interruptible
from recart.models.totalvi import TotalVI
from recart.training.encoder_training import EncoderTraining
from recart.training.executors.executor import Job
from recart.training.executors.ray_cluster import RayCluster
from recart.training.executors.ray_train import RayTrain
from recart.training.jobs import Recipes, TrainedEncoder, train_encoders
from recart.training.reporting_logger import ReportingLogger
from recart.training.trainer import TrainerSettings, quiet_lightning

pytestmark = [
    pytest.mark.slow,  # starts Ray, and processes that import Lightning
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]

ONE = TrainerSettings(accelerator="cpu", devices=1, precision="64-true", deterministic=False)
RECIPES = Recipes(
    features=FeatureChoice(n_genes=30, exclude=[], prior_cells=10),
    model=TotalVI(latent=4, hidden=8),
    training=EncoderTraining(
        epochs=3,
        batch_size=40,
        block=8,
        lr=0.01,
        weight_decay=1e-3,
        clip_norm=1.0,
        warmup_epochs=2,
        patience=2,
    ),
)
STACK = [
    Member(name="a", fold=0, repeat=0, seed=1, train=(0, 1, 2, 3), validation=(4, 5), held_out=()),
    Member(name="b", fold=1, repeat=0, seed=2, train=(2, 3, 6), validation=(0, 7), held_out=()),
]
Cohort = tuple[CohortStore, Bags, Path]


@pytest.fixture
def cohort(
    make_store: Callable[..., CohortStore],
    make_all_bags: Callable[[CohortStore], Bags],
    tmp_path: Path,
) -> Cohort:
    path = tmp_path / "prepared.zarr"
    write_store(make_store(patients=8), path)
    store = open_store(path)
    return store, make_all_bags(store), path


def train(
    settings: TrainerSettings, members: list[Member], cohort: Cohort
) -> tuple[list[TrainedEncoder], list[Any]]:
    reports: list[Any] = []
    store, bags, path = cohort
    logger = ReportingLogger(reports.append)
    with quiet_lightning():
        encoders = train_encoders(
            members,
            store,
            bags,
            RECIPES,
            lambda epochs: settings.make(epochs, [logger], [], path.parent),
        )
    return encoders, reports


def over_ray(strategy: str, address: str, cohort: Cohort) -> TrainerSettings:
    cluster = RayTrain(RayCluster(address, 1, 0, None), cohort[2])
    return replace(ONE, devices=2, strategy=strategy, cluster=cluster)


@pytest.mark.parametrize("strategy", ["ddp", "dealt"])
def test_two_workers_train_what_one_process_trains(
    strategy: str, two_machines: str, cohort: Cohort
) -> None:
    found, reports = train(over_ray(strategy, two_machines, cohort), STACK, cohort)
    expected, expected_reports = train(ONE, STACK, cohort)
    for one, other in zip(found, expected, strict=True):
        assert one.best_epoch == other.best_epoch
        assert one.best_loss == pytest.approx(other.best_loss, rel=1e-7)
        for name, tensor in other.state.items():
            torch.testing.assert_close(one.state[name], tensor, rtol=1e-7, atol=1e-8)
        assert len(one.history) == len(other.history) == 3
    assert [own.epoch for own in reports] == [own.epoch for own in expected_reports] == [0, 1, 2]
    for one, other in zip(reports, expected_reports, strict=True):
        assert one.means["validation/rna"] == pytest.approx(other.means["validation/rna"], rel=1e-6)


def test_a_worker_that_fails_is_named_and_ends_the_others(
    two_machines: str, errands: ModuleType, tmp_path: Path
) -> None:
    # the other would take two minutes
    waits = Job(name="0", work=partial(errands.sleep, str(tmp_path)))
    fails = Job(name="1", work=errands.refuse)
    said: list[Any] = []
    first, second = RayTrain(RayCluster(two_machines, 1, 0, None), tmp_path).run(
        [waits, fails], lambda job, content: said.append((job.name, content))
    )
    assert first.job.name == "1"
    assert str(first.failure) == "ValueError: no such thing / as a free lunch"
    assert "in refuse" in first.failure.trace
    assert second.job.name == "0"
    assert second.failure is not None
    assert said == [("1", "about to refuse")]
    all_are_gone(tmp_path)


@pytest.mark.parametrize("together", [True, False])
def test_ctrl_c_stops_at_once_and_ends_the_workers(
    together: bool, two_machines: str, errands: ModuleType, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGINT)
    cluster = RayCluster(two_machines, 1, 0, None)
    jobs = [Job(name=name, work=partial(errands.chat, str(tmp_path))) for name in "01"]
    asked = threading.Event()

    def stop(_job: Job, _content: Any) -> None:
        if not asked.is_set():
            asked.set()
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()

    running = (RayTrain(cluster, tmp_path) if together else cluster).run(jobs, stop)
    with pytest.raises(Interrupted), interruptible():
        list(running)
    assert signal.getsignal(signal.SIGINT) is before
    all_are_gone(tmp_path)


def all_are_gone(folder: Path) -> None:
    """Wait for the processes after which files were named when they began."""
    for own in folder.iterdir():
        while psutil.pid_exists(int(own.name)):
            assert time.time() - own.stat().st_mtime < 500, "the other goes on"
            time.sleep(0.1)
