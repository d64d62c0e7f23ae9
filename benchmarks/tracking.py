"""What trackers cost: processor seconds of following jobs, beside those of the training followed.

Each tracker follows 50 jobs of a member for 30 epochs, with the metrics that a training really
reports, in a process of its own; all of it counts, W&B's imports and its helper process too. The
training is one of the default model on a small cohort, counted by the slope over its epochs, and
scaled by cells to the default simulated cohort, of which a member trains on some 12,800.

    python benchmarks/tracking.py
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

JOBS, EPOCHS, CELLS = 50, 30, 12_800
TRACKERS = ("csv", "tensorboard", "wandb", "mlflow")
SMALL = [
    *("data.reader.patients=12", "data/receptors=none", "data.folds.k=2", "data.folds.repeats=1"),
    *("data.limits.min_per_class=3", "head.inner_folds=2", "executor=in_process", "logger=csv"),
    *("trainer.accelerator=cpu", "training.patience=99"),
]


def cpu() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    own, children = (resource.getrusage(who) for who in (0, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def follow(name: str, folder: Path) -> dict[str, float]:
    """Let one tracker follow a run; what it took."""
    from recart.config.build import build_each
    from recart.config.compose import compose
    from recart.training.epoch_reports import EpochReport
    from recart.training.trackers import tracked, tracking

    config = compose([f"logger={name}", f"paths.prepared={folder}"])
    tracker = build_each(config.logger)[name]
    terms = ("loss", "rna", "protein", "receptor", "presence", "kl_z", "kl_library", "elbo")
    names = [f"{part}/{term}" for part in ("train", "validation") for term in terms]
    names += ["active_dimensions", "kl_weight", "members_done"]
    jobs = [f"r{i // 5}f{i % 5}" for i in range(JOBS)]
    before = cpu()
    with tracking({name: tracker}, tracked(folder, config, {}, sys.stderr.write)) as (watcher,):
        watcher.start(dict.fromkeys(jobs, 1), EPOCHS)
        for job in jobs:
            for epoch in range(EPOCHS):
                means = {**dict.fromkeys(names, 0.5 + epoch), "members_done": 0.0}
                watcher.advance(job, EpochReport(epoch=epoch, step=epoch, means=means))
            watcher.end(job)
        watcher.stop()
    if name == "wandb":
        import wandb

        wandb.teardown()  # its helper process ends, and counts
    return {"cpu s": cpu() - before}


def train(epochs: int, folder: Path) -> dict[str, float]:
    """Train the default model on a small cohort; seconds, and cells trained on in an epoch."""
    from recart.config.compose import compose
    from recart.training.launch import train_run

    settings = [*SMALL, f"paths.run={folder / str(epochs)}", f"paths.prepared={folder / 'data'}"]
    before = cpu()
    train_run(compose([*settings, f"training.epochs={epochs}"]))
    split = json.loads((folder / str(epochs) / "split.json").read_text())
    share = sum(len(own["train"]) for own in split["folds"]) / 12
    return {"cpu s": cpu() - before, "share": share}


def apart(*arguments: str) -> dict[str, Any]:
    """What this script takes with these arguments, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print processor seconds of trackers, and their share of the training's."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        apart("train", "1", folder)  # prepares the cohort
        few, many = (apart("train", str(epochs), folder) for epochs in (2, 8))
        from recart.data.store import open_store

        (path,) = Path(folder, "data").glob("*.zarr")
        cells = len(open_store(path, in_memory=False).cells) * few["share"]
        each = (many["cpu s"] - few["cpu s"]) / 6 / cells
        found["training, CPU s a million cells"] = 1e6 * each
        training = JOBS * EPOCHS * CELLS * each
        found[f"training, CPU s of {JOBS} members x {EPOCHS} epochs"] = training
    for name in TRACKERS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                spent = apart("follow", name, folder)["cpu s"]
            except subprocess.CalledProcessError:
                continue  # an extra that is not installed
        found[f"{name}, CPU s"] = spent
        found[f"{name}, share of training"] = spent / training
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["follow"]:
        sys.stdout.write(json.dumps(follow(sys.argv[2], Path(sys.argv[3]))) + "\n")
    elif sys.argv[1:2] == ["train"]:
        sys.stdout.write(json.dumps(train(int(sys.argv[2]), Path(sys.argv[3]))) + "\n")
    else:
        main()
