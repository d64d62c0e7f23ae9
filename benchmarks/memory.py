"""Claim: training takes at most 150 MiB beyond the loaded data; 80 MiB is the goal.

Each contender trains in a process of its own, on one thread, on the same random cells with the same
layers and batch size. The growth is the highest resident memory of the training less the resident
memory before it, when the cells are loaded, a small training has loaded what is needed, and freed
memory has gone back to the system: weights, gradients, moments, minibatches and the arrays of a
step. recart holds counts in the smallest integer type; the peer is given float32, as scvi-tools'
users hold them. Linux with glibc only.

    python benchmarks/memory.py [--cells 40000] [--genes 4000] [--batch 512]
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cells import bags_of, member_of, random_store
from contenders import anndata_of, quiet, recipes, settings, totalvi, train_totalvi
from processes import apart

from recart.data.store import CohortStore
from recart.training.jobs import train_encoders
from recart.training.trainer import quiet_lightning

PROTEINS, PATIENTS, HELD, EPOCHS = 140, 24, 3, 2
_THIS = Path("/proc/self")


def resident(name: str) -> float:
    """A size of this process in MiB: `VmRSS` now, `VmHWM` at its highest."""
    for line in (_THIS / "status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise OSError(f"{_THIS / 'status'} says nothing of {name}")


def forget_highest() -> None:
    """Start the highest resident memory again from now."""
    (_THIS / "clear_refs").write_text("5")


def train_ours(store: CohortStore, genes: int, batch: int) -> None:
    """One member."""
    everyone, trainer = tuple(range(PATIENTS)), settings()
    with quiet_lightning():
        train_encoders(
            [member_of("all", everyone[HELD:], everyone[:HELD])],
            store,
            bags_of(store),
            recipes(genes, epochs=EPOCHS, batch=batch),
            lambda epochs: trainer.make(epochs, [], [], Path()),
        )


def train_theirs(adata: Any, patient: np.ndarray[Any, Any], batch: int) -> None:
    """TOTALVI."""
    parts = [np.flatnonzero(patient >= HELD), np.flatnonzero(patient < HELD)]
    train_totalvi(totalvi(adata), [*parts, np.zeros(0, dtype=int)], epochs=EPOCHS, batch=batch)


def child(options: argparse.Namespace) -> dict[str, float]:
    """MiB of the loaded data's counts, and what training adds."""
    small = random_store(2 * options.batch, 200, PROTEINS, PATIENTS)
    store = random_store(options.cells, options.genes, PROTEINS, PATIENTS)
    counts = store.rna
    if options.child == "ours":
        train_ours(small, 200, options.batch)

        def train() -> None:
            train_ours(store, options.genes, options.batch)

    else:
        patient = store.cells["patient"].to_numpy()
        train_theirs(anndata_of(small), small.cells["patient"].to_numpy(), options.batch)
        adata = anndata_of(store)
        counts = adata.X
        del store

        def train() -> None:
            train_theirs(adata, patient, options.batch)

    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    loaded = sum(part.nbytes for part in (counts.data, counts.indices, counts.indptr)) / 2**20
    before = resident("VmRSS")
    forget_highest()
    train()
    return {"loaded": loaded, "before": before, "grown": resident("VmHWM") - before}


def main(options: argparse.Namespace) -> None:
    """Print MiB."""
    given = [f"--{key}={value}" for key, value in vars(options).items() if key != "child"]
    lines = [
        f"{options.cells:,} cells x {options.genes:,} genes x {PROTEINS} proteins, batches of "
        f"{options.batch}, {EPOCHS} epochs, one thread, MiB",
        f"{'':10s} RNA counts   process before   training adds",
    ]
    for name, contender in (("TOTALVI", "theirs"), ("recart", "ours")):
        found = apart(__file__, contender, *given, threads=1)
        lines.append(
            f"{name:10s} {found['loaded']:10.0f} {found['before']:16.0f} {found['grown']:15.0f}"
        )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for key, default in (("cells", 40_000), ("genes", 4_000), ("batch", 512)):
        parser.add_argument(f"--{key}", type=int, default=default)
    parser.add_argument("--child", choices=("ours", "theirs"))
    chosen = parser.parse_args()
    if chosen.child is None:
        main(chosen)
    else:
        quiet()
        torch.set_num_threads(1)
        sys.stdout.write("\n" + json.dumps(child(chosen)) + "\n")
