"""Claim: with few patients an encoder that labels shape is worth less than one that they don't.

Simulated cohorts of 36 patients, trained and evaluated by the shipped functions: `staged`, where
the head has every label; `halved`, where it has the half that joint training leaves it and the
encoder as good as none (weight 1e-9); and joint training with two weights of the bag term. A line
a cohort and arm: AUROC of held-out patients, and the mean log loss of inner folds.

    python benchmarks/joint.py --seeds 11 12 13 [--arms staged halved]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

from recart.config.compose import compose
from recart.evaluation.launch import evaluate_run
from recart.training.launch import train_run
from recart.training.run_directory import RunDirectory

ARMS = {
    "staged": [],
    "halved": ["training=joint", "training.joint.weight=1e-9"],
    "joint 20": ["training=joint", "training.joint.weight=20"],
    "joint 200": ["training=joint", "training.joint.weight=200"],
}
SMALL = [
    *("data.reader.patients=36", "data.reader.cells_per_sample=80", "data.reader.genes=300"),
    *("data.limits.min_cells=5", "data/receptors=none", "data.folds.k=3", "data.folds.repeats=1"),
    *("training.epochs=15", "training.warmup_epochs=5", "model.hidden=32", "features.n_genes=250"),
    *("head.prototypes=10", "head.fine_prototypes=20", "head.inner_folds=3", "baselines={}"),
    *("executor=in_process", "logger=csv", "callbacks={}"),
]


def measure(arm: str, seed: int, folder: Path) -> tuple[float, float]:
    """AUROC of the held-out patients, and the inner log loss."""
    own = [f"data.reader.seed={seed}", f"paths.run={folder / f'{seed}-{arm}'.replace(' ', '')}"]
    config = compose([*ARMS[arm], *SMALL, *own, f"paths.prepared={folder / 'prepared'}"])
    inner = train_run(config)
    found = evaluate_run(RunDirectory.open(Path(config.paths.run)))
    auroc = found.assessment.model.metrics.auroc
    return float("nan") if auroc is None else auroc, inner


def main(seeds: list[int], arms: list[str]) -> None:
    """Print a line a cohort and arm, and each arm's mean."""
    warnings.simplefilter("ignore")
    aurocs: dict[str, list[float]] = {arm: [] for arm in arms}
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            for arm in arms:
                auroc, inner = measure(arm, seed, Path(folder))
                aurocs[arm].append(auroc)
                sys.stdout.write(f"{seed} {arm:10s} AUROC {auroc:.3f}, inner loss {inner:.3f}\n")
                sys.stdout.flush()
    for arm, values in aurocs.items():
        sys.stdout.write(f"mean {arm:10s} {np.mean(values):.3f}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    given = parser.parse_args()
    main(given.seeds, given.arms)
