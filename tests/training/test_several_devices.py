"""`train.py` on several devices, here two processes on a CPU: one run, the same models."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from recart.config.compose import compose, config_folder
from recart.training.checkpoints import load_checkpoint
from recart.training.launch import train_run

pytestmark = pytest.mark.slow  # whole runs

TIMEOUT = 900  # seconds; a run that hangs is ended


# the quick simulated cohort, smaller still
SETTINGS = [
    "experiment=quick",
    "data/receptors=none",
    "executor=in_process",
    "data.reader.patients=12",
    "data.reader.cells_per_sample=30",
    "data.reader.genes=170",
    "data.limits.min_cells=2",
    "data.folds.k=2",
    "features.prior_cells=5",
    "training.epochs=2",
    "training.batch_size=256",
    "model.hidden=8",
    "head.prototypes=3",
    "head.inner_folds=2",
    "trainer.accelerator=cpu",
    "trainer.precision=64-true",
]


def _train_py(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`python train.py`."""
    return subprocess.run(
        [sys.executable, str(config_folder().parent / "train.py"), *arguments, *SETTINGS],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def test_train_py_on_two_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run directory, one sweep, one line an epoch; the same models as on one device."""
    monkeypatch.chdir(tmp_path)
    train_run(compose([*SETTINGS, "paths.run=one", "trainer.devices=1"]))
    runs = {
        "ddp": ["trainer.devices=2", "trainer.strategy=ddp"],
        "dealt": ["trainer.devices=2", "trainer.strategy=dealt", "members_per_job=null"],
    }
    for name, arguments in runs.items():
        done = _train_py(tmp_path, f"paths.run={name}", *arguments)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stderr.count("run directory: ") == 1
        assert done.stderr.count("epochs 4/4") == 1
        assert "Warning" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {".recart", "prepared", "one", *runs}
    one = tmp_path / "one"
    for other in (tmp_path / name for name in runs):
        assert _rows(other) == [pytest.approx(row, rel=1e-6) for row in _rows(one)]
        for path in sorted((one / "checkpoints").glob("*.ckpt")):
            expected = load_checkpoint(path)
            found = load_checkpoint(other / "checkpoints" / path.name)
            for name, tensor in expected["encoder"].items():
                torch.testing.assert_close(found["encoder"][name], tensor, rtol=1e-6, atol=1e-8)


def _rows(run: Path) -> list[dict[str, float]]:
    """What was logged of each epoch, but for how members were put together."""
    (path,) = (run / "logs").rglob("*.csv")
    table = pd.read_csv(path).drop(columns="step")
    return [dict(row) for row in table.to_dict("records")]


def test_torchrun_starts_no_second_run(tmp_path: Path) -> None:
    done = _train_py(tmp_path, "-m", "seed=0,1", "paths.sweep=grid", WORLD_SIZE="2", RANK="1")
    assert done.returncode == 2
    assert "torchrun has started 2 processes" in done.stderr
    assert not list(tmp_path.rglob("run.json"))
