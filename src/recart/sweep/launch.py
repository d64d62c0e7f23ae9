"""`train.py sweep=...`: search on inner folds of every outer fold, then choose and write runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from omegaconf import DictConfig, OmegaConf

from recart.config.build import build, build_each
from recart.config.check import check_config
from recart.config.compose import again, run_folder
from recart.data.bags import with_blocks
from recart.data.split import members
from recart.data.store import CohortStore
from recart.interruption import goes_on_with
from recart.problems import InputError, Problem
from recart.sweep.check_space import check_sweep
from recart.sweep.configurations import OF_ENCODER, plain_base
from recart.sweep.development import development_of
from recart.sweep.gain import gain_line
from recart.sweep.outer_scores import check_not_seen
from recart.sweep.page import chances_of, write_page
from recart.sweep.proposals import Proposals
from recart.sweep.recipe import Sweep
from recart.sweep.record import Record
from recart.sweep.rounds import Rounds
from recart.sweep.runs import write_runs
from recart.sweep.search import Search, standing_values
from recart.sweep.space import Distribution
from recart.sweep.tables import read_folds, write_tables
from recart.sweep.tracked_sweep import TrackedSweep
from recart.training.cohort_setup import prepare_cohort
from recart.training.epoch_reports import EpochWatcher
from recart.training.executors.executor import Executor
from recart.training.executors.in_process import InProcess
from recart.training.head_start import MEMBER_IMPORTS
from recart.training.heartbeat import Heartbeat
from recart.training.launch import recipes, record_cohort, split_of
from recart.training.member_job import Trainers
from recart.training.progress import say
from recart.training.readouts import build_head
from recart.training.receptor_version import check_receptor_version
from recart.training.run_directory import RunDirectory
from recart.training.shared_store import SharedStore
from recart.training.stack_size import member_bytes, members_that_fit, on_gpu
from recart.training.states import States

__all__ = ["run_sweep"]

MOST_IN_STACK: Final = 128  # encoders; more only wait for each other


def run_sweep(config: DictConfig) -> float:
    """Search the space of `config.sweep` in its directory, and write the runs that it ends in.

    Each fold of the cross-validation is searched by itself, on its development patients: its
    trials, their scores and its choice are the same whatever becomes of its held-out patients.
    Started again with the same directory, only trials without a score are run.

    Returns
    -------
    Mean over folds of the chosen configurations' inner loss. It was chosen: see the sweep's page
    for what choosing alone would have gained.

    Raises
    ------
    InputError
        With every problem of configuration, space or data, before anything is trained.
    """
    check_config(config)
    sweep: Sweep = build(config.sweep)
    base = plain_base(config, sweep.repeats)
    space = check_sweep(sweep, base)
    made, _ = recipes(base), build_head(base)
    if made.training.start is not None:
        made.training.start.require(made.model)
    settings, scheme = build(base.trainer), build(base.data.folds)
    executor, callbacks = build(base.executor), list(build_each(base.callbacks).values())
    if executor.elsewhere is None:
        settings.require_here()
    trackers = build_each(base.logger)
    for tracker in trackers.values():
        tracker.check()
    folder, seeds = run_folder(config).absolute(), {"seed": int(config.seed)}
    about = _about(config, base)
    if (folder / "run.json").exists():
        RunDirectory.create(folder, about, seeds)  # refuses another sweep at once
    if executor.elsewhere is None and on_gpu(settings.accelerator):
        executor = InProcess()  # a GPU is not divided among processes
    elif executor.elsewhere is None and executor.places > 1:
        executor.prepare(MEMBER_IMPORTS)  # while the cohort is read
    cohort = prepare_cohort(base.data, Path(base.paths.prepared), say)
    place = RunDirectory.create(folder, about, seeds)
    if cohort.store.receptor_dim:
        check_receptor_version(place, say)
    with place.locked(), goes_on_with(again(folder)):
        split = split_of(place, cohort, scheme, base.seed)
        record_cohort(place, cohort)
        budget = sweep.budget_for(len(split.patients))
        check_not_seen(folder, budget)
        say(f"sweep directory: {folder}")
        say(f"{budget} configurations in each of {split.words}, {len(split.patients)} patients")
        following = TrackedSweep(trackers, folder, config)
        searches = _searches(sweep, space, base, members(split), budget, folder)
        rounds = Rounds(
            shared=SharedStore(cohort.store, folder),
            bags=with_blocks(cohort.bags, split.block_of),
            extras=cohort.extras,
            pruner=sweep.pruner,
            trainers=Trainers(
                settings=settings,
                callbacks=[own for own in callbacks if not isinstance(own, EpochWatcher)],
                folder=folder,
                states=States.of_run(place, cohort.key, settings),
            ),
            places=following.places,
            donors=donors(space),
            folder=folder,
            stack=_stack(config, base, executor, cohort.store),
        )
        prepared = Path(base.paths.prepared) / f"{cohort.key}.zarr"
        del cohort
        rounds.shared.reach(executor, prepared)
        record = Record(sweep.storage, folder, space, sweep.objectives)
        watchers = [own for own in callbacks if isinstance(own, EpochWatcher)]
        watchers.append(Heartbeat(folder))
        with following.follow() as followers:
            watchers += followers
            try:
                _search(searches, rounds, record, executor, watchers, place)
            finally:
                record.close()
            rounds.complete(searches, executor, watchers)
        shutil.rmtree(place.states, ignore_errors=True)
        write_runs(folder, searches, base, seeds)
        write_tables(
            folder,
            searches,
            space,
            {
                "seed": int(base.seed),
                "unit": str(base.data.unit),
                "patients": len(split.patients),
                "budget": budget,
                "default_budget": sweep.budget is None,
                "sampler": type(sweep.sampler).__name__,
                "pruner": type(sweep.pruner).__name__,
                "objectives": list(sweep.objectives),
            },
            {own.member.name: development_of(own.member, rounds.bags) for own in searches},
        )
        following.finish()
    page = write_page(folder)
    losses = [own.scores[own.chosen or 0].scores["inner_loss"] for own in searches]
    say(f"page: {page}")
    say(gain_line(chances_of(read_folds(folder)[1], int(base.seed)).values()))
    say(f"swept. Next: python evaluate.py run={folder / 'chosen'}, and run={folder / 'default'}")
    return float(np.mean(losses))


def _stack(
    config: DictConfig, base: DictConfig, executor: Executor, store: CohortStore
) -> Callable[[int], int]:
    """Encoders of a stack, given how many are to be trained.

    One on a CPU, where stacking does not pay; as many as memory holds on a GPU here; dealt evenly
    over GPUs elsewhere, whose memory can't be asked.
    """
    asked, elsewhere = config.members_per_job, executor.elsewhere
    if asked != "auto":
        return lambda number: number if asked is None else int(asked)
    if elsewhere is not None:
        return lambda number: -(-number // executor.places) if elsewhere.gpus > 0 else 1
    if not on_gpu(base.trainer.accelerator):
        return lambda _: 1
    import torch

    free, _ = torch.cuda.mem_get_info()
    own = member_bytes(recipes(base), store)
    return lambda number: members_that_fit(free, own, min(number, MOST_IN_STACK))


def donors(space: dict[str, Distribution]) -> bool:
    """Whether later trials can meet an encoder again: the values of its keys are counted."""
    own = [distribution for key, distribution in space.items() if key.split(".")[0] in OF_ENCODER]
    return all(distribution.values is not None for distribution in own)


def _searches(
    sweep: Sweep,
    space: dict[str, Distribution],
    base: DictConfig,
    own_members: Sequence[Any],
    budget: int,
    folder: Path,
) -> list[Search]:
    """One for each fold; their samplers begin alike, so that folds can share what is drawn."""
    first = standing_values(base, list(space), _options())
    return [
        Search(
            member,
            Proposals(space, sweep.sampler, first, budget, sweep.objectives, int(base.seed)),
            base,
            folder,
        )
        for member in own_members
    ]


def _options() -> dict[str, str]:
    """Names of the files that were chosen, by group, where Hydra started this."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return {}
    return {str(k): str(v) for k, v in HydraConfig.get().runtime.choices.items()}


def _search(
    searches: Sequence[Search],
    rounds: Rounds,
    record: Record,
    executor: Executor,
    watchers: Sequence[EpochWatcher],
    place: RunDirectory,
) -> None:
    """Ask, run what is missing, tell, until every fold has had its budget."""
    while unfinished := [own for own in searches if not own.finished]:
        for own in unfinished:
            asked = own.ask()
            if asked:
                record.asked(own.member.name, asked[0].number, [each.values for each in asked])
        place.write_json("budget.json", {"trials": sum(own.planned for own in searches)})
        rounds.run(unfinished, executor, watchers)
        for own in unfinished:
            record.told(own.member.name, own.tell())
            own.clear(rounds.donors)
    for own in searches:
        if own.chosen is None:
            raise InputError([_nothing(own)])


def _about(config: DictConfig, base: DictConfig) -> DictConfig:
    """What the directory says of the sweep.

    Without the storage, which may hold a password, and without the budget, which may grow.
    """
    about = DictConfig(OmegaConf.to_container(base, resolve=False))
    about.sweep = OmegaConf.to_container(config.sweep, resolve=False)
    about.sweep.storage = about.sweep.budget = None
    return about


def _nothing(search: Search) -> Problem:
    reasons = sorted({own.reason for own in search.scores if own.reason})
    return Problem(
        code="E-SWEEP-012",
        what=f"no trial of fold {search.member.name} came to an end",
        mend="narrow the space: a smaller learning rate is the usual mend",
        examples=tuple(reasons[:3]),
    )
