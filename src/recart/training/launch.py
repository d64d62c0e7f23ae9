"""`train.py`'s work: cohort, split, members, run directory; then train what is missing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from recart.config.build import build, build_each
from recart.config.check import check_config
from recart.config.compose import again, run_folder
from recart.data.bags import Bags, with_blocks
from recart.data.folds import PatientColumns
from recart.data.pseudonyms import Pseudonyms
from recart.data.split import Split, members
from recart.data.store import CohortStore
from recart.interruption import goes_on_with
from recart.problems import InputError, Problem
from recart.training.cohort_setup import (
    PreparedCohort,
    left_unread,
    prepare_cohort,
    prepared_folder,
)
from recart.training.collapse import collapse_warning
from recart.training.cross_validation import CrossValidation
from recart.training.endpoints import SeveralEndpoints, endpoint_of
from recart.training.epoch_reports import EpochWatcher
from recart.training.executors.executor import Executor
from recart.training.executors.in_process import InProcess
from recart.training.executors.ray_cluster import RayCluster
from recart.training.executors.ray_train import RayTrain
from recart.training.head_start import MEMBER_IMPORTS
from recart.training.heartbeat import Heartbeat
from recart.training.jobs import Recipes
from recart.training.joint_training import require_lent
from recart.training.member_configuration import member_config, own_values
from recart.training.member_file import LoadedMember, load_member
from recart.training.member_job import Trainers
from recart.training.progress import say
from recart.training.readouts import build_head
from recart.training.receptor_version import check_receptor_version
from recart.training.run_directory import RunDirectory
from recart.training.shared_store import SharedStore
from recart.training.stack_size import member_bytes, members_that_fit, on_gpu
from recart.training.states import States
from recart.training.taken_encoders import TakenEncoders
from recart.training.trackers import tracked, tracking
from recart.training.training_time import timed

__all__ = ["load_members", "recipes", "record_cohort", "split_of", "train_run"]


def recipes(config: DictConfig) -> Recipes:
    """The parts of a configuration that make an encoder."""
    return Recipes(
        features=build(config.features),
        model=build(config.model),
        training=build(config.training),
    )


def train_run(config: DictConfig) -> float:
    """Train the cross-validation of `config` in its run directory.

    Started again with the same directory, it trains only the members that are missing.

    Returns
    -------
    Mean over members of the head's inner cross-validated log loss: no held-out patient is in it,
    so that a multirun may compare runs by it.

    Raises
    ------
    InputError
        With every problem of configuration or data, before anything is trained.
    """
    check_config(config)
    # everything that can be refused is built before the cohort is read
    made, head, settings = recipes(config), build_head(config), build(config.trainer)
    if made.training.joint is not None:
        made.training.joint.require_alone(settings.devices)
    if made.training.start is not None:
        made.training.start.require(made.model)
    scheme, trackers = build(config.data.folds), build_each(config.logger)
    executor, callbacks = build(config.executor), list(build_each(config.callbacks).values())
    if executor.elsewhere is None:
        settings.require_here()
    folder, seeds = run_folder(config), {"seed": int(config.seed)}
    donor = config.paths.encoders
    taken = None if donor is None else TakenEncoders.of(Path(donor), config)
    if (folder / "run.json").exists():
        RunDirectory.create(folder, config, seeds)  # refuses another configuration at once
    if executor.elsewhere is None and executor.places > 1 and not on_gpu(settings.accelerator):
        executor.prepare(MEMBER_IMPORTS)  # while the cohort is read
    cohort = prepare_cohort(config.data, Path(config.paths.prepared), say)
    run = RunDirectory.create(folder, config, seeds)
    if cohort.store.receptor_dim:
        check_receptor_version(run, say)
    for line in left_unread(config.data, head):
        say(line)
    with run.locked(), goes_on_with(again(_shown(run.path))):
        say(f"run directory: {_shown(run.path)}")
        split = split_of(run, cohort, scheme, config.seed)
        record_cohort(run, cohort)
        validation = CrossValidation(
            shared=SharedStore(cohort.store, run.path),
            bags=with_blocks(cohort.bags, split.block_of),
            extras=cohort.extras,
            members=members(split),
            recipes=made,
            head=head,
            folder=run.checkpoints.absolute(),
            taken=taken,
        )
        if made.training.joint is not None:
            require_lent(made.training.joint, validation.members, validation.bags)
        say(f"{len(cohort.bags)} bags, {split.words} = {len(validation.members)} members")
        key, missing = cohort.key, validation.missing()
        if taken is not None and missing:
            taken.require(missing, list(cohort.store.patients.index), key)
            taken.record(run, missing)
            say(f"encoders are those of {_shown(taken.path)}: heads alone are fitted")
        prepared = _prepared_path(config, cohort)
        del cohort  # whose store may be put where other processes share it
        if missing:
            known = {member.name: member for member in validation.members}
            with tracking(trackers, tracked(run.logs, config, known, say)) as followers:
                displays = [own for own in callbacks if isinstance(own, EpochWatcher)]
                others = [own for own in callbacks if not isinstance(own, EpochWatcher)]
                trainers = Trainers(
                    settings=settings,
                    callbacks=others,
                    folder=run.path.absolute(),
                    states=States.of_run(run, key, settings),
                )
                watchers = [*displays, *followers, Heartbeat(run.path)]
                size = config.members_per_job
                with timed(
                    run.path, validation.missing if taken is None else tuple, settings, executor
                ):
                    _train(validation, size, executor, prepared, trainers, watchers)
        else:
            say("all members are there already")
        trained = load_members(run)
        shutil.rmtree(run.states, ignore_errors=True)  # nothing is left to go on with
    if warning := collapse_warning({member.name: member.history for member in trained}):
        say(warning)
    say(f"trained. Next: python evaluate.py run={_shown(run.path)}")
    return float(np.mean([member.head.inner_loss for member in trained]))


def _prepared_path(config: DictConfig, cohort: PreparedCohort) -> Path:
    return Path(config.paths.prepared) / f"{cohort.key}.zarr"


def _shown(path: Path) -> str:
    """A path as a user types it: from the working directory where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


def load_members(run: RunDirectory) -> list[LoadedMember]:
    """All trained members of a run, by name; each by its own configuration where it has one."""
    own = own_values(run.path)
    found, recipe = [], (build(run.config.model), build_head(run.config))
    for path in sorted(run.checkpoints.glob("*.ckpt")):
        model, head = recipe
        if own:
            config = member_config(run.config, own.get(path.stem, {}))
            model, head = build(config.model), build_head(config)
        found.append(load_member(path, model, head))
    return found


def record_cohort(run: RunDirectory, cohort: PreparedCohort) -> None:
    """Write which cohort the run is of; refuse to go on with members of another."""
    path = run.path / "cohort.json"
    there = json.loads(path.read_text())["key"] if path.exists() else cohort.key
    if there != cohort.key and any(run.checkpoints.glob("*.ckpt")):
        problem = Problem(
            code="E-RUN-013",
            file=run.path.name,
            what=f"its members were trained on the prepared cohort {there}; the input now gives "
            f"{cohort.key}",
            mend="the files or limits have changed since: restore them, or start a new run",
        )
        raise InputError([problem])
    run.write_json("cohort.json", {"key": cohort.key, "flow": cohort.bags.flow})


def split_of(run: RunDirectory, cohort: PreparedCohort, scheme: Any, seed: int) -> Split:
    """The split of the run: read where it stands already, else made and written."""
    names = list(cohort.store.patients.index)
    if run.split.exists():
        return Split.read(run.split, names)
    endpoint = endpoint_of(cohort.bags)
    table = cohort.bags.table
    labelled = table[table["label"] >= 0]
    patients = labelled["patient"].to_numpy()
    classes, grade = endpoint.stratified_by(labelled)
    columns = _columns(cohort.store, cohort.bags)
    columns = replace(columns, pseudonym=partial(_pseudonym, prepared_folder(run)))
    if grade.any():
        columns = replace(columns, grade=_by_patient(patients, grade, len(names)))
    split: Split = scheme.split(patients, classes, seed, names, columns)
    problems = endpoint.lacking(table, split) if isinstance(endpoint, SeveralEndpoints) else []
    if problems:
        raise InputError(problems)
    split.write(run.split, names)
    return split


def _pseudonym(prepared: Path, patient: str) -> str:
    """Of a patient's name in the data."""
    return Pseudonyms(prepared / "pseudonym.key").patient(patient)


def _by_patient(patients: np.ndarray[Any, Any], grade: np.ndarray[Any, Any], n: int) -> Any:
    """(n) the highest grade of each patient's bags, by code."""
    of_patient = np.zeros(n, dtype=np.int64)
    np.maximum.at(of_patient, patients, grade)
    return of_patient


def _columns(store: CohortStore, bags: Bags) -> PatientColumns:
    """Tables of the samples that may enter a prediction and of the patients."""
    of_bags = [range_.start for own in bags.slices for range_ in own]
    samples = np.unique(store.cells["sample"].to_numpy()[of_bags])
    return PatientColumns(samples=store.samples.iloc[samples], patients=store.patients)


def _train(
    validation: CrossValidation,
    members_per_job: int | str | None,
    executor: Executor,
    prepared: Path,
    trainers: Trainers,
    watchers: Sequence[EpochWatcher],
) -> None:
    """Deal the missing members into jobs and run them where that is fastest."""
    elsewhere = executor.elsewhere
    gpu = on_gpu(trainers.settings.accelerator) if elsewhere is None else elsewhere.gpus > 0
    # the same stacks each time the run goes on, so that each finds its state
    members = len(validation.members)
    if isinstance(executor, RayCluster) and trainers.settings.devices not in (1, "auto"):
        # each training in turn takes workers of the cluster, on as many machines as it needs
        over = replace(trainers.settings, cluster=RayTrain(executor, prepared.absolute()))
        trainers, executor, elsewhere = replace(trainers, settings=over), InProcess(), None
    devices = len(trainers.settings.places)
    if members_per_job is None:
        size = members
    elif isinstance(members_per_job, int):
        size = members_per_job
    elif not gpu:
        size = 1  # stacking does not pay on a CPU
    elif elsewhere is None and trainers.settings.cluster is None:
        size = _as_fits(validation, members, devices)
    else:
        size = -(-members // executor.places)  # what a GPU elsewhere holds can't be asked here
    # a GPU is not divided among processes; several devices start processes of their own. The last
    # member that is missing does not come here, where it would have other threads
    here = gpu or devices > 1 or executor.places == 1 or size >= members
    if elsewhere is None and here:
        executor = InProcess()
    validation.shared.reach(executor, prepared)
    validation.run(size, executor, trainers, watchers, say)


def _as_fits(validation: CrossValidation, members: int, devices: int) -> int:
    """Members of each stack, which is dealt over the devices."""
    import torch

    free, _ = torch.cuda.mem_get_info()
    own = member_bytes(validation.recipes, validation.shared.store)
    return members_that_fit(free * devices, own, members)
