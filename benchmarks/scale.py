"""What a cohort of 10,000 patients and 100 million cells would take: measured small, then scaled.

Reads are real, from a real store on disk, by jobs of the real executor; the training step is
replaced by its time, which is measured first, in the same run, by really training on the same cells
in memory. Sizes and memory are measured at two numbers of cells, and scaled by their slope.

    python benchmarks/scale.py [--cells 20000 100000] [--jobs 1 2 4 8]
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import streaming
from scale_job import Reading

PATIENTS, CELLS = 10_000, 100_000_000
CONFIGURATIONS, FOLDS, SHARE, EPOCHS = 1_000, 5, 0.64, 30
NON_ZEROS = 1_500  # of a cell of today's 10x chemistry


def on_disk(path: Path) -> int:
    """Bytes of a store."""
    return sum(own.stat().st_size for own in path.rglob("*") if own.is_file())


def chosen(path: Path) -> Any:
    """Features of all genes, and the store's non-zeros a cell."""
    from recart.data.features import FeatureChoice
    from recart.data.store import open_store

    store = open_store(path, in_memory=True)
    choice = FeatureChoice(n_genes=streaming.GENES, exclude=[], prior_cells=100)
    features = choice.fit(store, np.arange(2_000), 0)
    return features, store.rna.nnz / store.rna.shape[0]


def read(path: Path, features: Any, jobs: int, step: float, steps: int) -> list[dict[str, float]]:
    """What `jobs` members took that read at the same time."""
    from recart.training.executors.executor import Job
    from recart.training.executors.local_processes import LocalProcesses

    work = [
        Reading(path, features, step, steps, seed, streaming.BATCH, streaming.BLOCK)
        for seed in range(jobs)
    ]
    named = [Job(name=str(i), work=own) for i, own in enumerate(work)]
    outcomes = list(LocalProcesses(jobs).run(named, lambda *_: None))
    for outcome in outcomes:
        if outcome.failure is not None:
            raise RuntimeError(f"{outcome.failure}\n{outcome.failure.trace}")
    return [outcome.value for outcome in outcomes]


def job_bytes(path: Path) -> int:
    """Bytes of the bags that each job is sent, for the store at `path`."""
    import pandas as pd

    from recart.data.bags import Admission, make_bags
    from recart.data.store import open_store

    store = open_store(path, in_memory=False)
    labels = pd.Series(np.arange(len(store.patients)) % 2.0, store.patients.index)
    bags = make_bags(store, labels, unit="patient", admission=Admission())
    return len(pickle.dumps(bags, protocol=5))


def main(sizes: list[int], jobs: list[int], steps: int) -> None:
    """Print what was measured, and what it comes to."""
    streaming.BASE = sizes[0]
    base = streaming.base_store()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for size in sizes:
            paths[size] = Path(folder) / f"{size}.zarr"
            streaming.write_repeated(base, max(1, size // len(base.cells)), paths[size])
        small, large = (paths[size] for size in (sizes[0], sizes[-1]))
        times = max(1, sizes[-1] // len(base.cells))
        cells = {small: len(base.cells), large: times * len(base.cells)}
        patients = {small: len(base.patients), large: times * len(base.patients)}
        features, non_zeros = chosen(small)
        more = cells[large] - cells[small]
        found["non-zeros a cell"] = non_zeros
        found["store bytes a cell"] = (on_disk(large) - on_disk(small)) / more
        found["job bytes a patient"] = (job_bytes(large) - job_bytes(small)) / (
            patients[large] - patients[small]
        )
        rate = streaming.measure(large, True)
        found["train cells/CPU s, in memory"] = rate["train cells/CPU s"]
        found["choice s a cell"] = rate["choice s"] / cells[large]
        step = streaming.BATCH / rate["train cells/CPU s"]
        found["step s"] = step
        (first,), (alone,) = (read(p, features, 1, 0.0, steps) for p in (small, large))
        found["open MB a million cells"] = (alone["open MB"] - first["open MB"]) / more * 1e6
        found["read cells/CPU s"] = alone["cells"] / alone["cpu s"]
        found["read cells/s, one job, no step"] = alone["cells"] / alone["wall s"]
        for count in jobs:
            own = read(large, features, count, step, steps)
            wall, waited = (sum(row[key] for row in own) for key in ("wall s", "waited s"))
            found[f"{count} jobs: cells/s"] = sum(row["cells"] / row["wall s"] for row in own)
            found[f"{count} jobs: share of time waiting for cells"] = waited / wall
    passes = CONFIGURATIONS * FOLDS * EPOCHS * SHARE * CELLS
    found["cells trained in the sweep"] = passes
    found["core-years of the sweep"] = passes / found["train cells/CPU s, in memory"] / 3.15e7
    found["store GB"] = found["store bytes a cell"] * CELLS / 1e9
    found["store GB at 1,500 non-zeros"] = found["store GB"] * NON_ZEROS / non_zeros
    found["tables GB a process"] = found["open MB a million cells"] * CELLS / 1e9
    found["job MB"] = found["job bytes a patient"] * PATIENTS / 1e6
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs=2, default=[20_000, 100_000])
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--steps", type=int, default=150)
    asked = parser.parse_args()
    main(asked.cells, asked.jobs, asked.steps)
