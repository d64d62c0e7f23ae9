"""`train.py`'s work: cohort, split, members, run directory; then train what is missing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from omegaconf import DictConfig

from recart.config.build import build, build_each
from recart.config.check import check_config
from recart.config.compose import run_folder
from recart.data.split import Split, members
from recart.training.cohort_setup import PreparedCohort, prepare_cohort
from recart.training.cross_validation import CrossValidation
from recart.training.jobs import Recipes
from recart.training.member_file import LoadedMember, load_member
from recart.training.progress import say
from recart.training.run_directory import RunDirectory
from recart.training.trackers import Tracker, tracking
from recart.training.trainer import TrainerSettings, quiet_lightning

__all__ = ["load_members", "recipes", "train_run"]


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
    made, head, settings = recipes(config), build(config.head), build(config.trainer)
    scheme, trackers = build(config.data.folds), build_each(config.logger)
    folder, seeds = run_folder(config), {"seed": int(config.seed)}
    if (folder / "run.json").exists():
        RunDirectory.create(folder, config, seeds)  # refuses another configuration at once
    cohort = prepare_cohort(config.data, Path(config.paths.prepared), say)
    run = RunDirectory.create(folder, config, seeds)
    with run.locked():
        say(f"run directory: {_shown(run.path)}")
        split = _split(run, cohort, scheme, config.seed)
        run.write_json("cohort.json", {"key": cohort.key, "flow": cohort.bags.flow})
        validation = CrossValidation(
            store=cohort.store,
            bags=cohort.bags,
            extras=cohort.extras,
            members=members(split),
            recipes=made,
            head=head,
            folder=run.checkpoints,
        )
        say(
            f"{len(cohort.bags)} bags, {split.k} folds x {split.repeats} repeats = "
            f"{len(validation.members)} members"
        )
        _train(validation, settings, trackers, config, run)
        losses = [member.head.inner_loss for member in load_members(run)]
    say(f"trained. Next: python evaluate.py run={_shown(run.path)}")
    return float(np.mean(losses))


def _shown(path: Path) -> str:
    """A path as a user types it: from the working directory where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


def load_members(run: RunDirectory) -> list[LoadedMember]:
    """All trained members of a run, by name."""
    model, head = build(run.config.model), build(run.config.head)
    return [load_member(path, model, head) for path in sorted(run.checkpoints.glob("*.ckpt"))]


def _split(run: RunDirectory, cohort: PreparedCohort, scheme: Any, seed: int) -> Split:
    """The split of the run: read where it stands already, else made and written."""
    names = list(cohort.store.patients.index)
    if run.split.exists():
        return Split.read(run.split, names)
    table = cohort.bags.table
    labelled = table[table["label"] >= 0]
    split: Split = scheme.split(
        labelled["patient"].to_numpy(), labelled["label"].to_numpy(), seed, names
    )
    split.write(run.split, names)
    return split


def _train(
    validation: CrossValidation,
    settings: TrainerSettings,
    trackers: Mapping[str, Tracker],
    config: DictConfig,
    run: RunDirectory,
) -> None:
    if not validation.missing():
        say("all members are there already")
        return
    with tracking(trackers, run.logs, config) as loggers, quiet_lightning():

        def make_trainer(epochs: int) -> pl.Trainer:
            callbacks = list(build_each(config.callbacks).values())
            return settings.make(epochs, loggers, callbacks, run.path)

        validation.run(make_trainer, config.members_per_job, say)
