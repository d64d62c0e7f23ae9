"""Claim: on permuted labels the pipeline reads 0.50 +- 0.07 / 0.06 / 0.04 at n = 20 / 40 / 80.

Simulated cohorts of full strength are trained with the default head at small settings, and the
shipped check permutes their labels over patients 30 times, as `evaluate.py audit=full` does: first
it trains a fold again to see that no label enters its encoder, then it fits heads anew.

    python benchmarks/canary.py --patients 20 40 80 --seeds 1
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from contenders import quiet

from recart.config.compose import compose
from recart.evaluation.audit.canary import Canary
from recart.evaluation.audit.finding import Finding
from recart.evaluation.launch import evaluate_run
from recart.training.launch import train_run
from recart.training.run_directory import RunDirectory

BAND = {20: 0.07, 40: 0.06, 80: 0.04}
_SMALL = (
    *("data=simulated", "data/receptors=none", "executor=in_process", "trainer.accelerator=cpu"),
    *("data.folds.k=5", "data.folds.repeats=1", "data.limits.min_cells=20"),
    *("data.reader.cells_per_sample=60", "data.reader.genes=600", "features.n_genes=300"),
    *("model.hidden=32", "training.epochs=3", "training.warmup_epochs=1"),
    # as many of one class as of the other
    *("data.reader.design.cr_rate_ide_cel=0.5", "data.reader.design.cr_rate_cilta_cel=0.5"),
)


def canary(patients: int, seed: int, permutations: int) -> Finding:
    """Train a cohort, and let the shipped check permute its labels."""
    with tempfile.TemporaryDirectory() as name:
        settings = [
            *(*_SMALL, f"seed={seed}", f"data.reader.patients={patients}"),
            *(f"paths.run={name}/run", f"paths.prepared={name}/prepared"),
        ]
        train_run(compose(settings))
        run = RunDirectory.open(Path(name) / "run")
        check = Canary(folds=5, permutations=permutations, retrainings=5, epochs=3, cells=60)
        (found,) = check.findings(evaluate_run(run), run)
    return found


def main() -> None:
    """Print a line for each cohort, then the mean for each number of patients."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--patients", type=int, nargs="+", default=[20, 40, 80])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--permutations", type=int, default=30)
    given = parser.parse_args()
    quiet()
    torch.set_num_threads(1)
    for patients in given.patients:
        means = []
        for seed in given.seeds:
            started = time.process_time()
            found = canary(patients, seed, given.permutations)
            means.append(found.evidence.get("mean_auroc", np.nan))
            spent = time.process_time() - started
            sys.stdout.write(f"  n = {patients}, seed {seed}: {found.what} ({spent:.0f} CPU s)\n")
            sys.stdout.flush()
        allowed = f", allowed .50 +- {BAND[patients]:.2f}" if patients in BAND else ""
        sys.stdout.write(f"n = {patients}: mean AUROC {np.mean(means):.3f}{allowed}\n")


if __name__ == "__main__":
    main()
