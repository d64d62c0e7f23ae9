"""A training, and a sweep, through every executor: the same members and tables, to the bit."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from recart.config.compose import compose
from recart.problems import InputError
from recart.sweep.launch import run_sweep
from recart.training.launch import train_run

pytestmark = pytest.mark.slow  # trains, in processes that import Lightning

SMALL = [
    "data.reader.patients=10",
    "data.reader.cells_per_sample=30",
    "data.reader.genes=170",
    "data.limits.min_cells=2",
    "data.limits.min_per_class=3",
    "data/receptors=none",
    "data.folds.k=3",
    "data.folds.repeats=1",
    "features.prior_cells=5",
    "training.epochs=2",
    "training.warmup_epochs=1",
    "training.batch_size=512",
    "model.hidden=8",
    "head.prototypes=3",
    "head.fine_prototypes=4",
    "head.inner_folds=2",
    "trainer.accelerator=cpu",
]


SWEEP = [
    *("sweep=heads", "sweep/sampler=tpe", "sweep.sampler.startup=2", "sweep.sampler.batch=2"),
    *("sweep.budget=3", "sweep.space.head.prototypes.low=2", "sweep.space.head.prototypes.high=6"),
    *("data.reader.patients=12", "data.folds.k=2", "model.latent=4"),
]


def members(folder: Path, *overrides: str) -> dict[str, str]:
    """Train; hashes of the members' files."""
    prepared = f"paths.prepared={folder.parent / 'prepared'}"
    train_run(compose([*SMALL, prepared, f"paths.run={folder}", *overrides]))
    files = sorted((folder / "checkpoints").iterdir())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_members_are_the_same_wherever_they_train(
    two_machines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here = members(tmp_path / "in_process", "executor=in_process")
    finally:
        torch.set_num_threads(before)
    assert list(here) == ["r0f0.ckpt", "r0f1.ckpt", "r0f2.ckpt"]
    assert members(tmp_path / "ray", "executor=ray", f"executor.address={two_machines}") == here
    # paths as a user gives them, cells read from disk; the sweep below does without
    local = ["executor=slurm", "executor.cluster=local", "executor.at_once=2"]
    on_disk = ["data.in_memory=false", "paths.prepared=prepared"]
    assert members(Path("streamed"), *local, *on_disk) == here
    assert not list((tmp_path / "prepared" / "slurm").iterdir())


def sweep(folder: Path, *overrides: str) -> dict[str, str]:
    """Sweep, in two generations, of which the second takes the encoders of the first.

    Returns hashes of the tables and of the chosen members.
    """
    places = [f"paths.prepared={folder.parent / 'prepared'}", f"paths.run={folder}"]
    run_sweep(compose([*SMALL, *SWEEP, *places, *overrides]))
    files = [folder / name for name in ("trials.csv", "choice.csv", "sweep.json")]
    files += sorted((folder / "chosen" / "checkpoints").iterdir())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_sweep_ends_in_the_same_tables_wherever_it_runs(
    two_machines: str, tmp_path: Path
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here = sweep(tmp_path / "in_process", "executor=in_process")
    finally:
        torch.set_num_threads(before)
    assert list(here)[3:] == ["r0f0.ckpt", "r0f1.ckpt"]
    ray = ["executor=ray", f"executor.address={two_machines}"]
    assert sweep(tmp_path / "ray", *ray) == here
    slurm = ["executor=slurm", "executor.cluster=local", "executor.at_once=2"]
    assert sweep(tmp_path / "slurm", *slurm) == here


def test_a_cohort_that_other_machines_do_not_see_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recart.training import launch

    monkeypatch.setattr(launch, "_prepared_path", lambda *_: tmp_path / "not_shared.zarr")
    with pytest.raises(
        InputError, match=r"members r0f0 were not trained; InputError: .*E-JOB-007.*paths.pre"
    ):
        members(tmp_path / "run", "executor=slurm", "executor.cluster=local")
