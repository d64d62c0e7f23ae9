"""The runs that a sweep ends in: of the chosen configurations, and of the one as it stands.

A trial's member was trained on all development patients of its outer fold, and its head fitted to
them: it is what a refit with the chosen configuration would give, to the byte, and is taken over.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from recart.sweep.search import Search
from recart.sweep.trial_job import trial_path
from recart.training.member_configuration import OWN_VALUES
from recart.training.member_file import member_path
from recart.training.run_directory import RunDirectory, write_atomically

__all__ = ["RUNS", "write_runs"]

RUNS = ("chosen", "default")
"""Folders of the runs in the sweep's."""


def write_runs(
    folder: Path, searches: Sequence[Search], base: DictConfig, seeds: Mapping[str, int]
) -> None:
    """Write `chosen` and `default`: run directories that `evaluate.py` takes as they are."""
    _write(folder, "chosen", searches, base, seeds, lambda own: own.chosen or 0)
    _write(folder, "default", searches, base, seeds, lambda _: 0)


def _write(
    folder: Path,
    name: str,
    searches: Sequence[Search],
    base: DictConfig,
    seeds: Mapping[str, int],
    trial_of: Callable[[Search], int],
) -> None:
    config = DictConfig(OmegaConf.to_container(base, resolve=False))
    config.paths.run = str(folder / name)
    sources = {
        own.member.name: trial_path(folder, own.member.name, trial_of(own)) for own in searches
    }
    if not all(path.exists() for path in sources.values()):
        return  # the configuration as it stands did not come to an end in some fold
    run = RunDirectory.create(folder / name, config, seeds)
    for file in ("split.json", "cohort.json"):
        write_atomically(run.path / file, (folder / file).read_bytes())
    values = {own.member.name: own.trial(trial_of(own)).own_values for own in searches}
    if any(values.values()):
        run.write_json(OWN_VALUES, values)
    for member, source in sources.items():
        target = member_path(run.checkpoints, member)
        part = target.with_name(f".{target.name}.part")
        part.unlink(missing_ok=True)
        try:
            os.link(source, part)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, part)
        os.replace(part, target)
