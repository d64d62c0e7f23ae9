"""`train.py`'s work: cohort, split, members, run directory; then train what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from omegaconf import DictConfig

from recart.config.build import build, build_each
from recart.data.split import Split, members
from recart.training.cohort_setup import PreparedCohort, prepare_cohort
from recart.training.cross_validation import CrossValidation
from recart.training.jobs import Recipes
from recart.training.member_file import load_member, member_path
from recart.training.progress import say
from recart.training.run_directory import RunDirectory
from recart.training.trainer import TrainerSettings, quiet_lightning

__all__ = ["recipes", "train_run"]


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
    # everything that can be refused is built before the cohort is read
    made, head, settings = recipes(config), build(config.head), build(config.trainer)
    scheme = build(config.data.folds)
    with RunDirectory.create(Path(config.paths.run), config) as run:
        say(f"run directory: {run.path}")
        cohort = prepare_cohort(config.data, Path(config.paths.prepared), say)
        split = _split(run, cohort, scheme, config.seed)
        run.write_json("cohort.json", {"key": cohort.key, "flow": cohort.bags.flow})
        validation = CrossValidation(
            store=cohort.store,
            bags=cohort.bags,
            extras=cohort.extras,
            members=members(split),
            recipes=made,
            head=head,
            folder=run.members,
        )
        say(
            f"{len(cohort.bags)} bags, {split.k} folds x {split.repeats} repeats = "
            f"{len(validation.members)} members"
        )
        _train(validation, settings, config, run)
        losses = [
            load_member(member_path(run.members, member.name), made.model, head).head.inner_loss
            for member in validation.members
        ]
    say(f"trained. Next: python evaluate.py run={run.path}")
    return float(np.mean(losses))


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
    validation: CrossValidation, settings: TrainerSettings, config: DictConfig, run: RunDirectory
) -> None:
    if not validation.missing():
        say("all members are there already")
        return
    trackers = [
        tracker.open(run.path, config) for tracker in build_each(config.logger).values()
    ]

    def make_trainer(epochs: int) -> pl.Trainer:
        callbacks: Sequence[pl.Callback] = list(build_each(config.callbacks).values())
        return settings.make(epochs, trackers, callbacks, run.path)

    with quiet_lightning():
        validation.run(make_trainer, config.members_per_job, say)
