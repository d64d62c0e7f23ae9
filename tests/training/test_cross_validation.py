"""Members dealt into jobs: the same members wherever they train, and only those missing."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, final

import pytest
import torch

from recart.contracts import Member
from recart.data.bags import Bags
from recart.data.clone_features import clone_features
from recart.data.features import FeatureChoice
from recart.data.store import CohortStore
from recart.models.totalvi import TotalVI
from recart.problems import InputError
from recart.training.checkpoints import load_checkpoint
from recart.training.cross_validation import CrossValidation
from recart.training.encoder_training import EncoderTraining
from recart.training.epoch_means import EpochMeans
from recart.training.epoch_reports import EpochReport, EpochWatcher
from recart.training.executors.executor import Executor
from recart.training.executors.in_process import InProcess
from recart.training.executors.local_processes import LocalProcesses
from recart.training.jobs import Recipes
from recart.training.member_file import save_member
from recart.training.member_job import Trainers
from recart.training.prototype_head import PrototypeHead
from recart.training.shared_store import SharedStore
from recart.training.states import States
from recart.training.trainer import TrainerSettings

pytestmark = pytest.mark.slow  # trains, in processes that import Lightning: a minute

EPOCHS = 3
NAMES = ("a", "b", "c", "d")


@final
class Watcher(EpochWatcher):
    """Keeps what it is told; may kill a job's process when it first reports."""

    def __init__(self, kill: str | None = None) -> None:
        self.kill = kill
        self.started: dict[str, int] = {}
        self.epochs: dict[str, list[int]] = {}
        self.ended: list[str] = []
        self.stopped = 0

    def start(self, members: Mapping[str, int], epochs: int) -> None:
        assert epochs == EPOCHS
        self.started = dict(members)

    def advance(self, job: str, report: EpochReport) -> None:
        self.epochs.setdefault(job, []).append(report.epoch)
        if job == self.kill:
            (own,) = [p for p in multiprocessing.active_children() if p.name == job]
            assert own.pid is not None
            os.kill(own.pid, signal.SIGKILL)

    def end(self, job: str) -> None:
        self.ended.append(job)

    def stop(self) -> None:
        self.stopped += 1


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def study(
    make_store: Callable[..., CohortStore],
    make_all_bags: Callable[[CohortStore], Bags],
    tmp_path: Path,
) -> Callable[[str], CrossValidation]:
    """`study(name)`: four members over twelve patients, in their own folder."""

    def make(name: str) -> CrossValidation:
        store = make_store()
        bags = make_all_bags(store)
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        members = []
        for i, own in enumerate(NAMES):
            order = [(p + 2 * i) % 12 for p in range(12)]
            members.append(
                Member(
                    name=own,
                    fold=i,
                    repeat=0,
                    seed=i,
                    train=tuple(order[: 6 + i % 2]),
                    validation=tuple(order[7:10]),
                    held_out=tuple(order[10:]),
                )
            )
        return CrossValidation(
            shared=SharedStore(store, tmp_path),
            bags=bags,
            extras=clone_features(store, bags),
            members=members,
            recipes=Recipes(
                features=FeatureChoice(n_genes=30, exclude=[], prior_cells=10),
                model=TotalVI(latent=4, hidden=8),
                training=EncoderTraining(
                    epochs=EPOCHS,
                    batch_size=32,
                    block=8,
                    lr=0.01,
                    weight_decay=1e-3,
                    clip_norm=1.0,
                    warmup_epochs=2,
                    patience=5,
                ),
            ),
            head=PrototypeHead(
                prototypes=3,
                shrinkage=5.0,
                cells=300,
                strengths=[0.1, 10.0],
                inner_folds=2,
                use_extras=True,
            ),
            folder=folder,
        )

    return make


def run(
    study: CrossValidation,
    executor: Executor,
    size: int,
    *watchers: EpochWatcher,
    states: States | None = None,
) -> list[str]:
    settings = TrainerSettings(
        accelerator="cpu", devices=1, precision="64-true", deterministic=False
    )
    trainers = Trainers(settings=settings, callbacks=[], folder=study.folder.parent, states=states)
    said: list[str] = []
    if executor.places > 1:
        study.shared.share()
    study.run(size, executor, trainers, watchers, said.append)
    return said


class Killed(BaseException):
    """Where a process would have been killed."""


def test_a_stack_that_was_killed_between_two_files_goes_on_whole(
    study: Callable[[str], CrossValidation], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its members would not be the same to the bit in another company."""
    whole, killed = study("whole"), study("killed")
    run(whole, InProcess(), 3)
    states = States(folder=tmp_path / "states", belongs={}, every=1e9)
    written: list[str] = []

    def save(path: Path, *rest: Any) -> None:
        if len(written) == 2:
            raise Killed
        written.append(path.name)
        save_member(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr("recart.training.head_fitting.save_member", save)
        with pytest.raises(Killed):
            run(killed, InProcess(), 3, states=states)
    before = {path.name: path.stat().st_mtime_ns for path in killed.folder.iterdir()}
    assert sorted(before) == ["a.ckpt", "b.ckpt"]
    watcher = Watcher()
    run(killed, InProcess(), 3, watcher, states=states)
    assert watcher.started == {"a, b, c": 3, "d": 1}
    assert list(watcher.epochs) == ["d"], "the stack has ended its training"
    for name in NAMES:
        path = killed.folder / f"{name}.ckpt"
        assert path.read_bytes() == (whole.folder / path.name).read_bytes()
        assert before.get(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
    assert not any(states.folder.iterdir())


def files(study: CrossValidation) -> dict[str, dict[str, Any]]:
    return {path.stem: load_checkpoint(path) for path in sorted(study.folder.iterdir())}


def close(one: Any, other: Any, place: str = "") -> None:
    """Two checkpoints are the same, numbers to tolerance."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            close(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list) and one and isinstance(one[0], dict | float | torch.Tensor):
        assert len(one) == len(other), place
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            close(a, b, f"{place}[{i}]")
    elif isinstance(one, torch.Tensor | float):
        a, b = (torch.as_tensor(value) for value in (one, other))
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8, equal_nan=True, msg=place)
    else:
        assert one == other, place


def test_members_are_the_same_wherever_they_train(
    study: Callable[[str], CrossValidation],
) -> None:
    here, elsewhere, stacked = study("here"), study("elsewhere"), study("stacked")
    run(here, InProcess(), 1)
    followed = Watcher()
    run(elsewhere, LocalProcesses(2), 1, followed)
    in_stacks = Watcher()
    run(stacked, InProcess(), 3, in_stacks)
    for name in NAMES:
        # alone on one thread: the same bytes in another process
        assert (here.folder / f"{name}.ckpt").read_bytes() == (
            elsewhere.folder / f"{name}.ckpt"
        ).read_bytes(), name
    close(files(here), files(stacked))
    # everything was followed from here
    assert followed.started == dict.fromkeys(NAMES, 1)
    assert followed.epochs == {name: list(range(EPOCHS)) for name in NAMES}
    assert sorted(followed.ended) == list(NAMES)
    assert followed.stopped == 1
    assert in_stacks.started == {"a, b, c": 3, "d": 1}


def test_trackers_are_given_the_same_wherever_members_train(
    study: Callable[[str], CrossValidation],
) -> None:
    written = []
    for executor, size in ((LocalProcesses(2), 1), (InProcess(), 4)):
        rows: list[dict[str, float]] = []
        run(study(f"{size}"), executor, size, EpochMeans([_Rows(rows)]))  # type: ignore[list-item]
        written.append(rows)
    assert len(written[0]) == EPOCHS
    close(*written)


class _Rows:
    def __init__(self, rows: list[dict[str, float]]) -> None:
        self.rows = rows

    def log_metrics(self, metrics: dict[str, float], _step: int) -> None:
        self.rows.append(metrics)

    def save(self) -> None: ...


def test_a_member_that_is_killed_is_named_and_trained_the_next_time(
    study: Callable[[str], CrossValidation],
) -> None:
    own = study("killed")
    watcher = Watcher(kill="b")
    with pytest.raises(InputError) as caught:
        run(own, LocalProcesses(2), 1, watcher)
    (problem,) = caught.value.problems
    assert problem.code == "E-JOB-001"
    assert "members b were not trained" in problem.what
    assert "SIGKILL" in problem.what
    assert "only the members that are missing" in problem.mend
    assert sorted(path.name for path in own.folder.iterdir()) == ["a.ckpt", "c.ckpt", "d.ckpt"]
    assert sorted(watcher.ended) == list(NAMES)
    assert watcher.stopped == 1
    assert multiprocessing.active_children() == []
    times = {path: path.stat().st_mtime_ns for path in own.folder.iterdir()}
    (own.folder / ".b.ckpt.123.part").write_bytes(b"half")  # as it died while it wrote
    again = Watcher()
    said = run(own, LocalProcesses(2), 1, again)
    assert again.started == {"b": 1}
    assert said[0] == "3 members are there already"
    assert [path.name for path in sorted(own.folder.iterdir())] == [f"{n}.ckpt" for n in NAMES]
    assert {path: path.stat().st_mtime_ns for path in times} == times
    alone = study("alone")
    run(alone, InProcess(), 1)
    assert (own.folder / "b.ckpt").read_bytes() == (alone.folder / "b.ckpt").read_bytes()


def test_a_member_that_fails_says_why_in_this_process_too(
    study: Callable[[str], CrossValidation],
) -> None:
    own = study("failing")
    without = own.members[1]
    broken = Member(**{**without.to_dict(), "validation": (), "train": without.train})
    own = CrossValidation(**{**vars(own), "members": [own.members[0], broken, own.members[2]]})
    with pytest.raises(InputError, match="members b were not trained; ValueError: member b has no"):
        run(own, InProcess(), 1)
    assert sorted(path.name for path in own.folder.iterdir()) == ["a.ckpt", "c.ckpt"]


def test_an_interruption_keeps_what_is_finished_and_ends_the_rest(
    study: Callable[[str], CrossValidation],
) -> None:
    own = study("interrupted")

    @final
    class Interrupting(EpochWatcher):
        stopped = False

        def start(self, members: Mapping[str, int], epochs: int) -> None: ...

        def advance(self, job: str, report: EpochReport) -> None:  # noqa: ARG002
            if job == "c":
                raise KeyboardInterrupt

        def end(self, job: str) -> None: ...

        def stop(self) -> None:
            self.stopped = True

    watcher = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        run(own, LocalProcesses(2), 1, watcher)
    assert watcher.stopped
    assert multiprocessing.active_children() == []
    # c began when a or b had finished
    assert {path.name for path in own.folder.iterdir()} & {"a.ckpt", "b.ckpt"}
    assert not (own.folder / "c.ckpt").exists()
