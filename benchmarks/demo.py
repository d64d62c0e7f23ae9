"""Claim: what `make demo` trains takes a third of the time of scvi-tools and scikit-learn.

recart runs the training of `make demo` as `train.py` does, on a prepared cohort: it opens the
store, starts its processes, and for every fold chooses features, trains the encoder, encodes the
development patients and fits the head. The peer trains TOTALVI on the same folds of the same cells
and genes, with the same layers, latent size and batch size, for as many epochs as recart ran in
that fold, validated every epoch on the same patients; it encodes the same patients, takes each
bag's mean latent, and chooses and fits a logistic regression on five inner folds. Folds follow one
another on as many threads as recart has cores. recart's model has receptors and missing panels
besides, which the peer's lacks.

Each contender runs in a process of its own, in turn; imports of the peer are not counted. CPU time
is that of all processes.

    python benchmarks/demo.py [--runs 1] [override ...]
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
import torch
from clocks import Rates
from contenders import anndata_of, quiet, totalvi, train_totalvi
from processes import apart, cpu_and_wall

from recart.config.compose import compose
from recart.data.split import Split, members
from recart.training.cohort_setup import prepare_cohort, reopen_cohort
from recart.training.launch import load_members, train_run
from recart.training.run_directory import RunDirectory

CORES = len(os.sched_getaffinity(0))


def ours(folder: Path, number: int, overrides: list[str]) -> dict[str, Any]:
    """Prepare the cohort, then train; the run is left in `folder`."""
    run = folder / f"run{number}"
    places = [f"paths.run={run}", f"paths.prepared={folder / 'prepared'}"]
    config = compose(["experiment=demo", *places, *overrides])
    cohort = prepare_cohort(config.data, folder / "prepared", lambda _: None)
    cells = int(cohort.bags.table["n_cells"].sum())
    del cohort
    before = cpu_and_wall()
    train_run(config)
    seconds = cpu_and_wall() - before
    epochs = [len(member.history) for member in load_members(RunDirectory.open(run))]
    return {"seconds": seconds.tolist(), "epochs": epochs, "cells": cells}


def theirs(folder: Path, number: int) -> dict[str, Any]:
    """The folds of the run in `folder`, one after another."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    run = RunDirectory.open(folder / f"run{number}")
    config = run.config
    key = json.loads((run.path / "cohort.json").read_text())["key"]
    cohort = reopen_cohort(config.data, folder / "prepared", key)
    store, bags = cohort.store, cohort.bags
    label = bags.table["label"].to_numpy()
    trained = {member.name: member for member in load_members(run)}
    folds = members(Split.read(run.split, list(store.patients.index)))
    before = cpu_and_wall()
    for member in folds:
        own = trained[member.name]
        rows = bags.of_patients((*member.train, *member.validation))
        rows = rows[label[rows] >= 0]
        cells = bags.cells(rows)
        adata = anndata_of(store, cells, own.features.spec.genes)
        patient = store.cells["patient"].to_numpy()[cells]
        parts = [
            np.flatnonzero(np.isin(patient, group)) for group in (member.train, member.validation)
        ]
        model = totalvi(adata, latent=config.model.latent, hidden=config.model.hidden)
        train_totalvi(
            model,
            [*parts, np.zeros(0, dtype=int)],
            epochs=len(own.history),
            batch=config.training.batch_size,
        )
        latents = model.get_latent_representation()
        bag = np.repeat(np.arange(len(rows)), bags.table["n_cells"].to_numpy()[rows])
        pooled = np.stack([latents[bag == n].mean(axis=0) for n in range(len(rows))])
        ridge = LogisticRegressionCV(
            Cs=9, cv=5, scoring="neg_log_loss", l1_ratios=(0.0,), use_legacy_attributes=False
        )
        make_pipeline(StandardScaler(), ridge).fit(pooled, label[rows])
    return {"seconds": (cpu_and_wall() - before).tolist()}


def main(runs: int, overrides: list[str]) -> None:
    """Print seconds and ratios."""
    rates, found = Rates(), {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(runs):
            given = [f"--number={number}", f"--folder={folder}", *overrides]
            found = apart(__file__, "ours", *given, threads=CORES)
            peer = apart(__file__, "theirs", *given, threads=CORES)
            rates.add("TOTALVI + scikit-learn", np.array(peer["seconds"]))
            rates.add("recart", np.array(found["seconds"]))
    epochs = sum(found["epochs"])
    lines = [
        f"training part of make demo {' '.join(overrides)}: {found['cells']:,} cells, "
        f"{len(found['epochs'])} folds, {epochs} epochs in all, {CORES} cores, medians of {runs} "
        "alternating runs",
        *rates.lines("TOTALVI + scikit-learn", epochs * found["cells"]),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--child", choices=("ours", "theirs"))
    parser.add_argument("--number", type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("overrides", nargs="*")
    chosen = parser.parse_args()
    if chosen.child is None:
        main(chosen.runs, chosen.overrides)
    else:
        quiet()
        torch.set_num_threads(CORES)
        if chosen.child == "ours":
            result = ours(chosen.folder, chosen.number, chosen.overrides)
        else:
            result = theirs(chosen.folder, chosen.number)
        sys.stdout.write("\n" + json.dumps(result) + "\n")
