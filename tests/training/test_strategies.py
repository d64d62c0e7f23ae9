"""Several devices, here two processes on a CPU: the same result as in one process."""

from __future__ import annotations

import os
import signal
import time
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
from recart.data.store import CohortStore, open_store, write_store
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.rna import NegativeBinomial
from recart.models.totalvi import TotalVI
from recart.training.encoder_training import EncoderTraining
from recart.training.jobs import Recipes, TrainedEncoder, train_encoders
from recart.training.ranks import RankError, Ranks
from recart.training.reporting_logger import ReportingLogger
from recart.training.state_files import StateFiles
from recart.training.states import States
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
    Member(
        name="c", fold=2, repeat=0, seed=3, train=(2, 3, 4, 5, 6), validation=(0, 1), held_out=()
    ),
]
TIMEOUT = 900  # seconds


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
        recipes: Recipes = RECIPES,
        states: States | None = None,
    ) -> None:
        self.reports: list[Any] = []
        logger = ReportingLogger(self.reports.append)
        with quiet_lightning():
            self.encoders: list[TrainedEncoder] = train_encoders(
                members,
                store,
                bags,
                recipes,
                lambda epochs: settings.make(epochs, [logger], callbacks, folder),
                states,
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
                assert row[key] == (
                    pytest.approx(value, rel=rtol, abs=1e-9) if key != "member" else value
                )
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


def test_cells_over_two_processes(cohort: tuple[CohortStore, Bags], tmp_path: Path) -> None:
    found = Trained(DDP, STACK, *cohort, tmp_path)
    expected = Trained(ONE, STACK, *cohort, tmp_path)
    assert [len(own.history) for own in expected.encoders] == [6, 4, 6]  # one left the stack
    assert_same(found, expected, rtol=1e-7)
    for one, other in zip(found.reports, expected.reports, strict=True):
        assert one.means == pytest.approx(other.means, rel=1e-6)


def test_a_member_alone_is_split_by_cells(
    make_store: Callable[..., CohortStore],
    make_all_bags: Callable[[CohortStore], Bags],
    tmp_path: Path,
) -> None:
    """On three processes, cells read from disk, without proteins and receptors."""
    store = make_store(patients=8)
    store = replace(store, protein=None, proteins=(), receptor=None, clones=None)
    store = replace(store, protein_measured=store.protein_measured[:, :0])
    bags = make_all_bags(store)
    write_store(store, tmp_path / "a.zarr")
    on_disk = open_store(tmp_path / "a.zarr", in_memory=False)
    found = Trained(replace(DDP, devices=3, strategy="auto"), [ALONE], on_disk, bags, tmp_path)
    expected = Trained(ONE, [ALONE], store, bags, tmp_path)
    assert_same(found, expected, rtol=1e-7)


def test_members_over_two_processes(cohort: tuple[CohortStore, Bags], tmp_path: Path) -> None:
    found = Trained(replace(DEALT, strategy="auto"), STACK, *cohort, tmp_path)
    assert_same(found, Trained(ONE, STACK, *cohort, tmp_path), rtol=1e-7)
    # to the bit where the stacks are composed alike
    first = Trained(ONE, STACK[:1], *cohort, tmp_path)
    second = Trained(ONE, STACK[1:], *cohort, tmp_path)
    for one, other in zip(found.encoders, first.encoders + second.encoders, strict=True):
        assert one.best_loss == other.best_loss
        assert one.history == other.history
        for name, tensor in other.state.items():
            assert torch.equal(one.state[name], tensor), name
    # one row an epoch, all members in it
    assert [report.members_done for report in found.reports] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("strategy", "members", "expected"),
    [
        ("auto", 1, [((0,), (0, 2)), ((0,), (1, 2))]),
        ("dealt", 1, [((0,), (0, 1))]),
        ("auto", 5, [((0, 1), (0, 1)), ((2, 3, 4), (0, 1))]),
        ("ddp", 2, [((0, 1), (0, 2)), ((0, 1), (1, 2))]),
    ],
)
def test_what_each_process_trains(
    strategy: str, members: int, expected: list[Any], tmp_path: Path
) -> None:
    ranks = Ranks(
        settings=replace(DDP, strategy=strategy),
        places=[0, 1],
        epochs=1,
        callbacks=[],
        folder=tmp_path,
    )
    shares = ranks.shares(members, "here")
    assert [(own.members, own.part) for own in shares] == expected
    assert {own.meeting for own in shares} == {"here" if expected[0][1] == (0, 2) else None}


class Dies(Callback):
    """Ends one process in the middle, once `after` processes have written an epoch's state."""

    def __init__(self, folder: Path, how: str, after: int = 0) -> None:
        self.folder = folder
        self.how = how
        self.after = after

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        second = bool(os.environ.get("RANK", "0") != "0" or len(pl_module.seeds) == 2)
        (self.folder / str(os.getpid())).touch()
        if trainer.current_epoch == 1 and second:
            while self.past_an_epoch() < self.after:
                time.sleep(0.01)
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ZeroDivisionError("on purpose")

    def past_an_epoch(self) -> int:
        """Processes whose newest state is of a later epoch than the first."""
        parts = {path.parent for path in self.folder.rglob("state-*.bin")}
        return sum((StateFiles(part).reached() or (0, 0)) >= (1, 0) for part in parts)


@pytest.mark.parametrize(("settings", "members"), [(DDP, "0, 1, 2"), (DEALT, "1, 2")])
@pytest.mark.parametrize("how", ["killed", "raises"])
def test_a_process_that_dies_is_named_and_ends_the_others(
    how: str,
    settings: TrainerSettings,
    members: str,
    cohort: tuple[CohortStore, Bags],
    tmp_path: Path,
) -> None:
    with pytest.raises(RankError, match=f"process 2 of 2, members {members}: ") as raised:
        Trained(settings, STACK, *cohort, tmp_path, (Dies(tmp_path, how),))
    assert ("SIGKILL" if how == "killed" else "ZeroDivisionError: on purpose") in str(raised.value)
    pids = [path.name for path in tmp_path.iterdir()]
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)  # no zombie either


@pytest.mark.parametrize(("settings", "writers"), [(DDP, 1), (DEALT, 2)], ids=["cells", "members"])
def test_processes_go_on_together(
    settings: TrainerSettings, writers: int, cohort: tuple[CohortStore, Bags], tmp_path: Path
) -> None:
    """To the bit, from the last epoch whose state was written; reports are of the rest."""
    states = States(folder=tmp_path / "states", belongs={}, every=0)
    dies = Dies(tmp_path, "killed", after=writers)
    with pytest.raises(RankError, match="SIGKILL"):
        Trained(settings, STACK, *cohort, tmp_path, (dies,), states=states)
    found = Trained(settings, STACK, *cohort, tmp_path, states=states)
    expected = Trained(settings, STACK, *cohort, tmp_path)
    for one, other in zip(found.encoders, expected.encoders, strict=True):
        assert one.history == other.history
        assert (one.best_epoch, one.best_loss) == (other.best_epoch, other.best_loss)
        for name, tensor in other.state.items():
            assert torch.equal(one.state[name], tensor), name
    assert [own.epoch for own in found.reports] == [1, 2, 3, 4, 5]


def test_a_minibatch_that_can_not_be_shared_is_said(
    cohort: tuple[CohortStore, Bags], tmp_path: Path
) -> None:
    few = replace(RECIPES, training=replace(RECIPES.training, batch_size=2, block=1))
    with pytest.raises(RankError, match="3 processes can't share minibatches of 2 cells"):
        Trained(replace(DDP, devices=3), [ALONE], *cohort, tmp_path, recipes=few)


@pytest.mark.parametrize(
    ("name", "launcher"), [("WORLD_SIZE", "torchrun"), ("SLURM_STEP_NUM_TASKS", "srun")]
)
def test_a_launcher_that_starts_the_command_several_times_is_refused(
    name: str, launcher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    assert replace(ONE).devices == 1
    monkeypatch.setenv(name, "4")
    with pytest.raises(ValueError, match=f"{launcher} has started 4 processes"):
        replace(ONE)


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match="'fsdp' is no strategy; it is one of auto, dealt, ddp"):
        replace(ONE, strategy="fsdp")


def test_devices_are_counted() -> None:
    assert [replace(ONE, devices=n).places for n in (1, 3, "2", "auto")] == [
        [0],
        [0, 1, 2],
        [0, 1],
        [0],
    ]
