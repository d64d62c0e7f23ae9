"""Processes that train one stack on several devices: members dealt over them, or cells.

A process a device is started for each training. Where members are dealt, each process trains its
own as a stack of its own, and they never talk. Where cells are dealt, every process holds all
members and a part of each minibatch, and gradients are averaged (DistributedDataParallel).
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.utils.data import DataLoader

from recart.data.batches import Blocks, StackBatches
from recart.data.features import BoundFeatures
from recart.training.epoch_means import EpochMeans
from recart.training.executors.executor import Job, Report
from recart.training.executors.local_processes import LocalProcesses
from recart.training.executors.ray_train import RayTrain
from recart.training.module import StackModule
from recart.training.shared_store import SharedStore

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from recart.training.trainer import TrainerSettings

__all__ = ["RankError", "Ranks"]

_IMPORTS: Final = (__name__, "recart.training.reporting_logger", "recart.training.trainer")
_Made = tuple[list[BoundFeatures], list[Blocks], bool]
_RESULTS: Final = ("best_loss_m", "best_epoch_m", "best_states", "stopped_m")  # by member


class RankError(RuntimeError):
    """One of the processes failed: how, and its traceback."""


@dataclass(frozen=True, kw_only=True)
class _Share:
    """What one process trains: `members` of the stack, on part `part` of each minibatch.

    `meeting` is the file where the processes of one training meet; None where it is one process.
    """

    members: tuple[int, ...]
    part: tuple[int, int]
    meeting: str | None


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Trains a stack in one process for each of `places`, the numbers of the devices.

    `settings`, `epochs`, `callbacks` and `folder` make the trainer of each process. `cluster` is
    where the processes are; None: on this machine.
    """

    settings: TrainerSettings
    places: Sequence[int]
    epochs: int
    callbacks: Sequence[pl.Callback]
    folder: Path
    cluster: RayTrain | None = None

    def fit(
        self,
        module: StackModule,
        train: StackBatches,
        validation: StackBatches,
        loggers: Sequence[Any],
    ) -> None:
        """Train the members of `module`, and leave there what its own training would have.

        Its stack keeps the weights of the start. `loggers` are given the epochs of all processes as
        means over all members.

        Raises
        ------
        RankError
            If a process fails; the others are then ended.
        """
        if multiprocessing.current_process().daemon:
            raise RankError(
                "a job's process can't start others for further devices; set executor=in_process"
            )
        with tempfile.TemporaryDirectory() as folder:
            shares = self.shares(len(module.seeds), str(Path(folder) / "meeting"))
            shared = SharedStore(train.store, self.folder)
            if self.cluster is None:
                shared.share()
            else:
                shared.read_elsewhere(self.cluster.prepared, self.cluster.cluster.elsewhere.jobs)
            works = [
                _RankWork(
                    settings=self.settings,
                    places=tuple(self.places),
                    number=number,
                    share=share,
                    shared=shared,
                    folder=self.folder,
                    # as bytes: tensors would be sent through shared memory, of which there may
                    # be little
                    rest=pickle.dumps(
                        (
                            self.epochs,
                            self.callbacks,
                            _part(module, share),
                            *(_made_of(own, share.members) for own in (train, validation)),
                        )
                    ),
                )
                for number, share in enumerate(shares)
            ]
            results = _run(works, EpochMeans(loggers), self.epochs, self.cluster)
        for share, result in zip(shares, results, strict=True):
            if result is not None:
                _take(module, share.members, pickle.loads(result))
        module.history.sort(key=lambda row: (row["epoch"], row["member"]))

    def shares(self, members: int, meeting: str) -> list[_Share]:
        """What each process trains of a stack of `members`; `meeting` is the path of a file."""
        ranks = len(self.places)
        if self.settings.strategy == "ddp" or (self.settings.strategy == "auto" and members == 1):
            every = tuple(range(members))
            return [_Share(members=every, part=(r, ranks), meeting=meeting) for r in range(ranks)]
        ranks = min(ranks, members)
        edges = [members * r // ranks for r in range(ranks + 1)]
        return [
            _Share(members=tuple(range(a, b)), part=(0, 1), meeting=None)
            for a, b in pairwise(edges)
        ]


@dataclass(frozen=True, kw_only=True)
class _RankWork:
    """The work of one process: its trainer, on its device, for its share."""

    settings: TrainerSettings
    places: tuple[int, ...]
    number: int
    share: _Share
    shared: SharedStore
    folder: Path
    rest: bytes

    @property
    def speaks(self) -> bool:
        """Whether what it finds is not another process's, too."""
        return self.share.part[0] == 0

    def __call__(self, report: Report) -> bytes | None:
        from recart.training.reporting_logger import ReportingLogger
        from recart.training.state_keeping import fit
        from recart.training.trainer import quiet_lightning

        chosen: list[_Made]
        epochs, callbacks, module, *chosen = pickle.loads(self.rest)
        train, validation = (
            DataLoader(StackBatches(self.shared.store, *made, self.share.part), batch_size=None)
            for made in chosen
        )
        loggers = [ReportingLogger(report)] if self.speaks else []
        with quiet_lightning(), self._together() as strategy:
            places = list(self.places) if self.share.meeting else [self.places[self.number]]
            trainer = self.settings.make_rank(
                "auto" if _placed_by_ray() else places,
                strategy,
                epochs,
                loggers,
                callbacks,
                self.folder,
            )
            fit(trainer, module, train, validation, writes=self.speaks)
        found = {name: getattr(module, name) for name in (*_RESULTS, "history")}
        return pickle.dumps(found) if self.speaks else None

    @contextmanager
    def _together(self) -> Iterator[Any]:
        """The strategy of this process's trainer, while the processes know of each other."""
        if self.share.meeting is None:
            yield "auto"
            return
        from recart.training.strategies import averaged_by_ray, averaged_gradients

        if _placed_by_ray():
            yield averaged_by_ray()
            return
        rank, ranks = self.share.part
        # what Lightning's environment of processes that others have started reads
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
        gpu = self.settings.on_gpu
        device = torch.device("cuda", self.places[self.number]) if gpu else None
        torch.distributed.init_process_group(
            "nccl" if gpu else "gloo",
            init_method=f"file://{self.share.meeting}",  # no port that another may have taken
            rank=rank,
            world_size=ranks,
            device_id=device,
        )
        try:
            yield averaged_gradients()
        finally:
            torch.distributed.destroy_process_group()


def _placed_by_ray() -> bool:
    """Whether Ray Train has started this process: it has made the group, and gives it a device."""
    ray = sys.modules.get("ray.train")
    return ray is not None and ray.get_context().get_world_size() is not None


def _run(
    works: Sequence[_RankWork], means: EpochMeans, epochs: int, cluster: RayTrain | None
) -> list[bytes | None]:
    """Run all at once; the first that fails ends the others."""
    jobs = [Job(name=str(own.number), work=own, imports=_IMPORTS) for own in works]
    means.start({str(own.number): len(own.share.members) for own in works if own.speaks}, epochs)
    results: dict[str, bytes | None] = {}
    executor = cluster or LocalProcesses(len(jobs))
    with closing(executor.run(jobs, lambda job, report: means.advance(job.name, report))) as ended:
        for outcome in ended:
            number = int(outcome.job.name)
            if outcome.failure is not None:
                raise RankError(
                    f"process {number + 1} of {len(jobs)}, members "
                    f"{', '.join(map(str, works[number].share.members))}: {outcome.failure}"
                ) from RankError(outcome.failure.trace)
            if works[number].speaks:
                means.end(outcome.job.name)
            results[outcome.job.name] = outcome.value
    means.stop()
    return [results[job.name] for job in jobs]


def _part(module: StackModule, share: _Share) -> StackModule:
    """The training of these members, not begun."""
    if module.joint is not None:
        raise RankError("joint training takes one device; set trainer.devices=1")
    stack = copy.deepcopy(module.stack)
    stack.keep(share.members)
    seeds = [module.seeds[m] for m in share.members]
    names = [module.names[m] for m in share.members]
    part = StackModule(stack, seeds, module.recipe, names=names)
    part.lr_m = [module.lr_m[m] for m in share.members]
    if module.states is not None:
        part.states = module.states.part(share.members, share.part[1])
    return part


def _take(module: StackModule, members: Sequence[int], found: dict[str, Any]) -> None:
    """Write what was found for these members where it belongs."""
    for name in _RESULTS:
        for member, value in zip(members, found[name], strict=True):
            getattr(module, name)[member] = value
    module.history += [{**row, "member": members[row["member"]]} for row in found["history"]]


def _made_of(data: StackBatches, members: Sequence[int]) -> _Made:
    """What these members' minibatches are made of, but for the store."""
    return [data.bound[m] for m in members], [data.blocks[m] for m in members], data.shuffled
