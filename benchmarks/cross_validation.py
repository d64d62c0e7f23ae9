"""Claim: a cross-validation with an encoder per fold takes a quarter of scvi-tools' wall time.

Both train on the same folds of the same random cells, with the same layers, batch size and epochs,
validate every epoch on the same patients, and encode all cells under every fold's model. recart
trains members as `train.py` does, one process each and one thread a process, and its time includes
choosing features and fitting every member's head, which the peer has none of; held-out cells are
encoded afterwards, as `evaluate.py` does. scvi-tools trains TOTALVI one fold after another on as
many threads as recart has processes, its time includes the construction of each model.

Each contender runs in a process of its own, in turn; imports and the making of the cells are not
counted, nor is the start of the server that recart's processes are forked from. CPU time is that of
all processes. Memory is each member process's own (USS), looked at twice a second, and what of it
is not pages of libraries or of the store, which are in memory once.

    python benchmarks/cross_validation.py [--cells 24000] [--folds 4] [--epochs 3] [--runs 2]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from cells import bags_of, fold_members, random_store
from clocks import Rates
from contenders import anndata_of, quiet, recipes, settings, totalvi, train_totalvi
from processes import apart, cpu_and_wall, watched

from recart.config.build import build
from recart.config.compose import compose
from recart.data.features import bind
from recart.data.store import CohortStore
from recart.training.cross_validation import CrossValidation
from recart.training.encoding import encode
from recart.training.executors.local_processes import LocalProcesses
from recart.training.member_file import load_member
from recart.training.member_job import Trainers
from recart.training.shared_store import SharedStore

PROTEINS, PATIENTS = 140, 24


class Recart:
    """A cross-validation, and the encoding of what each member has not seen."""

    def __init__(self, batch: int, epochs: int, processes: int) -> None:
        self.batch, self.epochs = batch, epochs
        self.executor = LocalProcesses(processes)

    def run(self, store: CohortStore, folds: int, folder: Path) -> None:
        """Train all members and encode all cells under each."""
        folder.mkdir()
        made = recipes(len(store.genes), epochs=self.epochs, batch=self.batch)
        bags, head, shared = bags_of(store), build(compose().head), SharedStore(store, folder)
        shared.share()
        validation = CrossValidation(
            shared=shared,
            bags=bags,
            extras=pd.DataFrame(index=bags.table.index),
            members=fold_members(len(store.patients), folds),
            recipes=made,
            head=head,
            folder=folder,
        )
        trainers = Trainers(settings=settings(), callbacks=[], folder=folder)
        validation.run(1, self.executor, trainers, [], lambda _: None)
        for member, path in zip(validation.members, sorted(folder.glob("*.ckpt")), strict=True):
            trained = load_member(path, made.model, head)
            rows = bags.of_patients(member.held_out)
            slices = [own for n in rows for own in bags.slices[int(n)]]
            encode(trained.stack, bind(trained.features, store), store, slices)


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """A small cross-validation that starts the server of processes, then the one that counts."""
    recart = Recart(options.batch, options.epochs, options.processes)
    store = random_store(options.cells, options.genes, PROTEINS, PATIENTS)
    highest: dict[int, np.ndarray[Any, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        recart.run(random_store(480, 200, PROTEINS, PATIENTS), 2, Path(folder) / "small")
        before = cpu_and_wall()
        with watched(highest):
            recart.run(store, options.folds, Path(folder) / "all")
        seconds = cpu_and_wall() - before
    return {"seconds": seconds.tolist(), "memory": [own.tolist() for own in highest.values()]}


def theirs(options: argparse.Namespace) -> dict[str, Any]:
    """Folds one after another."""
    store = random_store(options.cells, options.genes, PROTEINS, PATIENTS)
    adata = anndata_of(store)
    patient = store.cells["patient"].to_numpy()
    before = cpu_and_wall()
    for member in fold_members(PATIENTS, options.folds):
        parts = [
            np.flatnonzero(np.isin(patient, own))
            for own in (member.train, member.validation, member.held_out)
        ]
        model = totalvi(adata)
        train_totalvi(model, parts, epochs=options.epochs, batch=options.batch)
        model.get_latent_representation(batch_size=options.batch)
    return {"seconds": (cpu_and_wall() - before).tolist()}


def main(options: argparse.Namespace) -> None:
    """Print seconds, ratios and memory."""
    given = [f"--{k}={v}" for k, v in vars(options).items() if k not in ("child", "runs")]
    rates, memory = Rates(), []
    names = {"TOTALVI": "theirs", f"recart, {options.processes} processes": "ours"}
    for _ in range(options.runs):
        for name, contender in names.items():
            found = apart(__file__, contender, *given, threads=options.processes)
            rates.add(name, np.array(found["seconds"]))
            memory += found.get("memory", [])
    (uss, without), (most, _) = (f(np.array(memory) / 2**20, axis=0) for f in (np.median, np.max))
    lines = [
        f"{options.folds} folds, {options.cells:,} cells of {PATIENTS} patients x "
        f"{options.genes:,} genes x {PROTEINS} proteins, {options.epochs} epochs, batches of "
        f"{options.batch}, {options.processes} cores, medians of {options.runs} alternating runs",
        *rates.lines("TOTALVI", options.cells * options.folds),
        f"memory of each member process (USS): median {uss:.0f}, highest {most:.0f} MiB; without "
        f"pages of libraries and of the shared store: median {without:.0f} MiB",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for key, default in (("cells", 24_000), ("genes", 4_000), ("batch", 512), ("folds", 4)):
        parser.add_argument(f"--{key}", type=int, default=default)
    for key, default in (("epochs", 3), ("runs", 2), ("processes", len(os.sched_getaffinity(0)))):
        parser.add_argument(f"--{key}", type=int, default=default)
    parser.add_argument("--child", choices=("ours", "theirs"))
    chosen = parser.parse_args()
    if chosen.child is None:
        main(chosen)
    else:
        quiet()
        torch.set_num_threads(chosen.processes)
        result = ours(chosen) if chosen.child == "ours" else theirs(chosen)
        sys.stdout.write("\n" + json.dumps(result) + "\n")
