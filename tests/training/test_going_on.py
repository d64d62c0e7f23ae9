"""A training that is cut off, at any point, goes on to the same bits as one that is not."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from recart.contracts import Member, MemberSettings
from recart.data.bags import Bags
from recart.data.batches import StackBatches
from recart.data.features import FeatureChoice
from recart.data.store import CohortStore, open_store, write_store
from recart.interruption import Interrupted, interruptible
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.rna import NegativeBinomial
from recart.models.totalvi import TotalVI
from recart.training.encoder_training import EncoderTraining
from recart.training.jobs import Recipes, TrainedEncoder, train_encoders
from recart.training.module import StackModule
from recart.training.optimizer import StackedAdam
from recart.training.state_files import StateFiles
from recart.training.state_keeping import StateKeeping
from recart.training.states import States
from recart.training.trainer import TrainerSettings, quiet_lightning

RECIPES = Recipes(
    features=FeatureChoice(n_genes=1000, exclude=[], prior_cells=5),
    model=TotalVI(4, 8, JointEncoder(1), 1, 0.1, Masking(0.1), NegativeBinomial()),
    training=EncoderTraining(
        epochs=4,
        batch_size=64,
        block=8,
        lr=0.03,
        weight_decay=1e-6,
        clip_norm=1.0,
        warmup_epochs=2,
        patience=1,
    ),
)
# the second has a rate at which it learns nothing: it stops early, and leaves the stack
MEMBERS = [
    Member(name="r0f0", fold=0, repeat=0, seed=5, train=(0, 1, 2), validation=(3,), held_out=(4,)),
    Member(
        name="r0f1",
        fold=1,
        repeat=0,
        seed=6,
        train=(4, 3),
        validation=(0,),
        held_out=(1, 2),
        settings=MemberSettings(lr=1e-12),
    ),
]
SETTINGS = TrainerSettings(accelerator="cpu", devices=1, precision="32-true", deterministic=False)
Train = Callable[..., list[TrainedEncoder]]


class Killed(BaseException):
    """Where a process would have been killed."""


class Points:
    """Counts the points that a training passes; at point `kill` it is killed."""

    def __init__(self, kill: int | None = None) -> None:
        self.kill = kill
        self.passed: list[str] = []

    def __call__(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) - 1 == self.kill:
            raise Killed(name)


WATCHED = [
    (StackModule, "on_train_epoch_start"),
    (StackModule, "training_step"),
    (StackModule, "backward"),
    (StackModule, "validation_step"),
    (StackModule, "on_validation_epoch_end"),
    (StackedAdam, "step"),
    (StackBatches, "__getitem__"),
    (StateFiles, "write"),
    (os, "replace"),
    (os, "fsync"),
]


@contextmanager
def watched(points: Points, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A point before and one after each call of what a step, an epoch and a state are made of."""

    def between(name: str, function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            points(f"before {name}")
            value = function(*arguments, **named)
            points(f"after {name}")
            return value

        return call

    with monkeypatch.context() as patch:
        for owner, name in WATCHED:
            patch.setattr(owner, name, between(name, getattr(owner, name)))
        yield


def digest(encoders: list[TrainedEncoder]) -> str:
    """SHA-256 over all final weights, metrics and chosen epochs."""
    sha = hashlib.sha256()
    for own in encoders:
        for name, tensor in own.state.items():
            sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            sha.update(tensor.numpy().tobytes())
        sha.update(repr((own.best_epoch, own.best_loss, own.history)).encode())
    return sha.hexdigest()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with quiet_lightning():
        yield
    torch.set_num_threads(before)


@pytest.fixture
def train(
    make_store: Callable[..., CohortStore],
    make_all_bags: Callable[[CohortStore], Bags],
    tmp_path: Path,
) -> Train:
    store = make_store(patients=5, cells=60)
    bags = make_all_bags(store)

    def run(
        states: States | None,
        members: Sequence[Member] = MEMBERS,
        callbacks: Sequence[Any] = (),
        recipes: Recipes = RECIPES,
    ) -> list[TrainedEncoder]:
        return train_encoders(
            members,
            store,
            bags,
            recipes,
            lambda epochs: SETTINGS.make(epochs, [], callbacks, tmp_path),
            states,
        )

    return run


def states_in(folder: Path, every: float = 0.0, **belongs: Any) -> States:
    return States(folder=folder, belongs={"cohort": "x", **belongs}, every=every)


def test_writing_states_changes_nothing(train: Train, tmp_path: Path) -> None:
    plain = train(None)
    lengths = [len(own.history) for own in plain]
    assert len(set(lengths)) == 2, "one member is to stop before the other"
    assert digest(train(states_in(tmp_path))) == digest(plain)


def killed_at(
    train: Train, folder: Path, point: int | None, monkeypatch: pytest.MonkeyPatch
) -> Points:
    points = Points(point)
    with watched(points, monkeypatch):
        if point is None:
            train(states_in(folder))
        else:
            with pytest.raises(Killed):
                train(states_in(folder))
    return points


@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
def test_goes_on_where_it_was_killed(
    share: float, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = digest(train(None))
    points = len(killed_at(train, tmp_path / "unbroken", None, monkeypatch).passed)
    killed_at(train, tmp_path / "killed", int(share * points), monkeypatch)
    steps = Points()
    with watched(steps, monkeypatch):
        assert digest(train(states_in(tmp_path / "killed"))) == expected
    backward = steps.passed.count("after backward")
    assert backward < 16 * (1.2 - share), "steps that were taken are not taken again"


def test_what_has_ended_is_not_trained_again(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = digest(train(states_in(tmp_path, every=1e9)))  # no state but the last
    steps = Points()
    with watched(steps, monkeypatch):
        assert digest(train(states_in(tmp_path, every=1e9))) == expected
    assert not steps.passed


@pytest.mark.parametrize("other", ["cohort", "members", "damaged"])
def test_a_state_of_another_training_is_not_used(
    other: str,
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    killed_at(train, tmp_path, 120, monkeypatch)
    states, members = states_in(tmp_path), MEMBERS
    if other == "cohort":
        states = states_in(tmp_path, cohort="y")
    elif other == "members":  # of the same names
        members = [replace(MEMBERS[0], seed=9), MEMBERS[1]]
    else:
        for path in tmp_path.rglob("state-*.bin"):
            path.write_bytes(path.read_bytes()[:-1])
    expected = digest(train(None, members))
    assert digest(train(states, members)) == expected
    said = "is damaged" if other == "damaged" else f"a state of another .*{other}.* is not used"
    assert re.search(said, capsys.readouterr().err)


def test_a_damaged_state_is_left_for_the_one_before(
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    killed_at(train, tmp_path, 200, monkeypatch)
    newest = max(tmp_path.rglob("state-*.bin"))
    newest.write_bytes(newest.read_bytes()[:-1])
    steps = Points()
    with watched(steps, monkeypatch):
        assert digest(train(states_in(tmp_path))) == digest(train(None))
    assert f"{newest.name} is damaged and is not used" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["training_step", "validation_step"])
def test_a_signal_finishes_the_step_and_writes_a_state(
    where: str, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    inside = getattr(StackModule, where)

    def asked(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return inside(*arguments)

    states = states_in(tmp_path, every=1e9)
    with monkeypatch.context() as patch:
        patch.setattr(StackModule, where, asked)
        with pytest.raises(Interrupted) as caught, interruptible():
            train(states)
    assert caught.value.number == signal.SIGTERM
    (path,) = tmp_path.rglob("state-*.bin")
    epoch, step = StateFiles(path.parent).reached() or (0, 0)
    assert (epoch, step) == ((0, 3) if where == "training_step" else (epoch, 5))
    steps = Points()
    with watched(steps, monkeypatch):
        assert digest(train(states)) == digest(train(None))


@pytest.mark.parametrize("hook", ["on_train_start", "on_train_end"])
def test_a_signal_outside_of_the_steps_ends_a_process_quietly(
    hook: str,
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Lightning hears it there, before this training listens and after."""
    inside = getattr(StateKeeping, hook)

    def asked(*arguments: Any) -> None:
        if hook == "on_train_end":
            inside(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)
        if hook == "on_train_start":
            inside(*arguments)

    monkeypatch.setattr(StateKeeping, hook, asked)
    process = multiprocessing.get_context("fork").Process(
        target=train, args=(states_in(tmp_path, every=1e9),)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGTERM
    assert "Traceback" not in capfd.readouterr().err


def test_ctrl_c_in_a_notebook_is_what_it_is_elsewhere(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(StackModule, "validation_step", asked)
        with pytest.raises(KeyboardInterrupt):
            train(states_in(tmp_path, every=1e9))
    assert len(list(tmp_path.rglob("state-*.bin"))) == 1


def test_random_streams_of_the_process_are_not_read(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise and order follow from (seed, epoch, step): what others draw changes nothing."""
    expected = digest(train(None))
    killed_at(train, tmp_path, 150, monkeypatch)
    torch.rand(7)
    np.random.rand(3)
    assert digest(train(states_in(tmp_path))) == expected


def test_cells_that_are_read_from_disk(
    make_store: Callable[..., CohortStore],
    make_all_bags: Callable[[CohortStore], Bags],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reader is asked for the middle of an epoch first."""
    store = make_store(patients=5, cells=60)
    write_store(store, tmp_path / "a.zarr")
    on_disk = open_store(tmp_path / "a.zarr", in_memory=False)
    bags = make_all_bags(store)

    def train(own: CohortStore, states: States | None) -> list[TrainedEncoder]:
        make = SETTINGS.make
        return train_encoders(
            MEMBERS, own, bags, RECIPES, lambda epochs: make(epochs, [], [], tmp_path), states
        )

    states = states_in(tmp_path / "states")
    with watched(Points(70), monkeypatch), pytest.raises(Killed):
        train(on_disk, states)
    (newest,) = {path.parent for path in states.folder.rglob("state-*.bin")}
    reached = StateFiles(newest).reached()
    assert reached is not None
    assert reached[1] > 0, "the middle of an epoch"
    assert digest(train(on_disk, states)) == digest(train(store, None))


def test_callbacks_go_on_too(train: Train, tmp_path: Path) -> None:
    class Counting(pl.Callback):
        steps = 0

        def __init__(self, limit: int) -> None:
            self.limit = limit

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if any(trainer.train_dataloader.dataset[trainer.fit_loop.batch_idx].active):
                self.steps += 1
            if self.steps == self.limit:
                raise Killed

        def state_dict(self) -> dict[str, Any]:
            return {"steps": self.steps}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.steps = state["steps"]

    whole, killed, goes_on = Counting(0), Counting(7), Counting(0)
    train(None, callbacks=[whole])
    with pytest.raises(Killed):
        train(states_in(tmp_path), callbacks=[killed])
    train(states_in(tmp_path), callbacks=[goes_on])
    assert goes_on.steps == whole.steps > 7


@pytest.mark.slow  # some sixty short trainings
def test_every_point(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after everything that a step, an epoch and a state are made of.

    What a process leaves that is killed at a point is what lies on the disk at that point: one
    training is looked at there, and each of the folders that it would have left is gone on with.
    """
    # one before, one with and one after the end of a member
    recipes = replace(RECIPES, training=replace(RECIPES.training, epochs=3))
    plain = train(None, recipes=recipes)
    assert [len(own.history) for own in plain] == [3, 2]
    expected = digest(plain)
    folder, left = tmp_path / "states", dict[str, tuple[str, Path]]()

    class Looks(Points):
        def __call__(self, name: str) -> None:
            super().__call__(name)
            there = sorted(path for path in folder.rglob("*") if path.is_file())
            content = [(path.name, path.read_bytes()) for path in there]
            key = hashlib.sha256(repr(content).encode()).hexdigest()
            if key not in left:
                left[key] = (name, tmp_path / key)
                shutil.copytree(folder, tmp_path / key) if folder.exists() else None

    looks = Looks()
    with watched(looks, monkeypatch):
        train(states_in(folder), recipes=recipes)
    assert len(looks.passed) > 180
    assert len(left) > 40
    for name, killed in left.values():
        ended = train(states_in(killed, every=1e9), recipes=recipes)
        assert digest(ended) == expected, name
