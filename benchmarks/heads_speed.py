"""Claim: the heads of a cross-validation take a fortieth of MultiMIL's time, on the same latents.

24 patients leave one out, 10 seeds: 240 heads on 40,000 cells x 20 latents, each with its ridge
strength chosen on inner folds. The peer trains its attention head on the same latents of the same
patients with its own defaults, in a child process. It is timed over a few epochs; what all its
heads would take is that times the epochs of a fit: 51 where its early stopping (patience 50) ends
as soon as it can, 200 at most. The ratio is to 51. The two heads are different models: what is
compared is the price of a cross-validation, not of a step, nor how good its answer is.

Also: 1000 permutations of the labels on one member's latents. One thread, CPU seconds.

    python benchmarks/heads_speed.py --peer-python <python of the environment below>

MultiMIL needs an environment of its own:

    python -m venv peer && peer/bin/pip install "multimil==0.3.2" "torch==2.13.0" "setuptools<81"
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recart.config.build import build
from recart.config.compose import compose
from recart.training.heads import BagLatents, Head

_FEWEST_EPOCHS, _MOST_EPOCHS = 51, 200  # of MultiMIL's defaults
_PERMUTATIONS = 1000

# Runs with the peer's Python. The difference between a long and a short fit is that of epochs.
_PEER = """
import json, logging, resource, sys, warnings
warnings.simplefilter("ignore")
import anndata, numpy as np, pandas as pd, torch
import multimil
torch.set_num_threads(1)
for name in ("pytorch_lightning", "scvi", "lightning_fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)
given = np.load(sys.argv[1])
epochs = int(sys.argv[2])

def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

def fit(max_epochs):
    adata = anndata.AnnData(given["latents"].copy())
    adata.obs = pd.DataFrame(
        {"sample": given["patients"].astype(str), "response": given["labels"].astype(str)},
        index=adata.obs_names,
    )
    model = multimil.model.MILClassifier
    model.setup_anndata(adata, categorical_covariate_keys=["response", "sample"])
    model = model(adata, sample_key="sample", classification=["response"])
    before = cpu_seconds()
    model.train(max_epochs=max_epochs, use_gpu=False, enable_progress_bar=False)
    return cpu_seconds() - before, model.trainer.global_step

fit(1)
short, short_steps = fit(1)
long, long_steps = fit(1 + epochs)
print(json.dumps({"seconds": long - short, "steps": long_steps - short_steps}))
"""


def cpu_seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of this process for a piece of work."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def simulate(patients: int, cells: int, latents: int) -> tuple[BagLatents, np.ndarray[Any, Any]]:
    """Bags of cells in eight states, whose shares depend on the label."""
    rng = np.random.default_rng(0)
    labels = np.arange(patients) % 2
    centres = rng.normal(0.0, 2.0, (8, latents))
    favoured = np.where(np.arange(8) < 4, 6.0, 3.0)
    bags = []
    for label in labels:
        state = rng.choice(8, cells // patients, p=rng.dirichlet(np.roll(favoured, 4 * label)))
        bags.append(rng.normal(centres[state]).astype(np.float32))
    extras = rng.normal(size=(patients, 8))
    names = [f"clone statistic {i}" for i in range(8)]
    return BagLatents(
        latents=bags, extras=extras, extra_names=names, patients=np.arange(patients)
    ), labels


def take(bags: BagLatents, rows: np.ndarray[Any, Any]) -> BagLatents:
    """Some of the bags."""
    return BagLatents(
        latents=[bags.latents[n] for n in rows],
        extras=bags.extras[rows],
        extra_names=bags.extra_names,
        patients=bags.patients[rows],
    )


def peer_seconds(
    python: str, bags: BagLatents, labels: np.ndarray[Any, Any], epochs: int
) -> tuple[float, int]:
    """CPU seconds and steps of `epochs` epochs of MultiMIL's head."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "latents.npz"
        sizes = [len(z) for z in bags.latents]
        np.savez(
            path,
            latents=np.concatenate(bags.latents),
            patients=np.repeat(bags.patients, sizes),
            labels=np.repeat(labels, sizes),
        )
        done = subprocess.run(
            [python, "-c", _PEER, str(path), str(epochs)],
            cwd=folder,  # it writes checkpoints where it runs
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"the peer failed:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return found["seconds"], found["steps"]


def main() -> None:
    """Print seconds a head, seconds of all, and the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", help="Python of an environment that has MultiMIL")
    parser.add_argument("--peer-epochs", type=int, default=3, help="epochs to time it over")
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--cells", type=int, default=40_000)
    parser.add_argument("--latents", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    head: Head = build(compose().head)
    bags, labels = simulate(options.patients, options.cells, options.latents)
    folds = [np.delete(np.arange(options.patients), n) for n in range(options.patients)]
    members = [(take(bags, rows), labels[rows]) for rows in folds] * options.seeds
    seeds = [seed for seed in range(options.seeds) for _ in folds]

    head.fit(*members[0], seed=0)  # loads what it needs
    alone = cpu_seconds(lambda: head.fit(*members[0], seed=1))
    every = cpu_seconds(lambda: head.fit_stack(*zip(*members, strict=True), seeds))
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(members[0][1]) for _ in range(_PERMUTATIONS)]
    permuted = cpu_seconds(
        lambda: head.fit_stack([members[0][0]] * _PERMUTATIONS, shuffled, [0] * _PERMUTATIONS)
    )
    lines = [
        f"{len(members)} heads ({len(folds)} folds x {options.seeds} seeds), {options.cells:,} "
        f"cells x {options.latents} latents, one thread, CPU seconds",
        f"recart, {len(members)} heads         {every:9.1f} s   {every / len(members):.3f} s each, "
        f"{alone:.3f} s for one alone",
        f"recart, {_PERMUTATIONS} permutations  {permuted:9.1f} s   "
        f"{permuted / _PERMUTATIONS:.4f} s each",
    ]
    if options.peer_python is None:
        lines.append("MultiMIL was not run: see --help for how to make its environment")
    else:
        spent, steps = peer_seconds(options.peer_python, *members[0], options.peer_epochs)
        epoch = spent / options.peer_epochs
        lines.append(
            f"MultiMIL, {options.peer_epochs} epochs of one head: {steps} steps, "
            f"{1000 * spent / steps:.1f} ms a step, {epoch:.2f} s an epoch"
        )
        for epochs in (_FEWEST_EPOCHS, _MOST_EPOCHS):
            theirs = epoch * epochs * len(members)
            lines.append(
                f"MultiMIL, {len(members)} heads of {epochs:3d} epochs (extrapolated) "
                f"{theirs:9.0f} s   ratio {theirs / every:.0f}"
            )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
