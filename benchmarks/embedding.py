"""`embed.py` on a file of many cells: memory, and rates of the whole and of the encoder.

A run of two members is trained on a small simulated cohort. Some 20,000 simulated cells are written
to one `.h5ad` again and again, as further patients with the same counts, piece by piece; then a
process of its own embeds the file as `embed.py` does: reads and checks every value, encodes with
every member, predicts, and writes cells and tables. Memory is the largest resident set of that
process. The encoder alone is timed on cells in memory, on as many threads as there are cores, in
turns with scvi-tools' `get_latent_representation` of a TOTALVI of the same layers, on one thread
of torch and on as many as there are cores: on a machine that does other things these wait for each
other, and wall time says little. Beside it, cells of an unseen batch: their mean over batches and
what each batch would make of them, from one pass and from a pass for each. Ratios are of medians.

    python benchmarks/embedding.py [--cells 100000] [--genes 2000] [--runs 3] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

BASE, PROTEINS_OF_RANDOM, PATIENTS, ENCODED = 20_000, 60, 20, 40_000
SEED = 5
HIDDEN, LATENT = 128, 10  # as configs/model/totalvi.yaml


def train(folder: Path, genes: int) -> Path:
    """A run of two members of a small cohort."""
    from recart.config.compose import compose
    from recart.training.launch import train_run

    run = folder / "run"
    settings = [
        "data=simulated",
        "data/receptors=none",
        "data.reader.patients=12",
        "data.reader.cells_per_sample=150",
        f"data.reader.genes={genes}",
        "data.folds.k=2",
        "data.folds.repeats=1",
        f"features.n_genes={genes}",
        "training.epochs=2",
        f"seed={SEED}",
        f"paths.run={run}",
        f"paths.prepared={folder / 'prepared'}",
    ]
    train_run(compose(settings))
    return run


def write_file(path: Path, cells: int, genes: int) -> int:
    """About `cells` cells in one `.h5ad`, never all in memory; returns how many."""
    import anndata
    import h5py
    from anndata.io import sparse_dataset, write_elem

    from recart.data.simulate import SimulatedCohort

    reader = SimulatedCohort(
        PATIENTS, BASE * 2 // (PATIENTS * 5), genes, seed=SEED
    )  # in the batches of the run
    base = reader.read()
    times = max(1, round(cells / len(base.cells)))
    obs = base.cells.join(base.samples, on="sample")
    obs = obs[["sample", "patient", "timepoint", "day", "tissue", "batch"]]
    tables = []
    part = path.with_name(f"part-{path.name}")
    with h5py.File(part, "w") as file:
        for i in range(times):
            own = obs.set_axis([f"{name}-{i}" for name in obs.index])
            own = own.assign(sample=own["sample"] + f"-{i}", patient=own["patient"] + f"-{i}")
            tables.append(own.astype({"sample": "category", "patient": "category"}))
            if i == 0:
                layout = {"indptr_dtype": np.dtype(np.int64)}
                write_elem(file, "X", base.rna, dataset_kwargs=layout)
                shape = (len(obs) * times, len(base.proteins))
                file.create_dataset("protein", shape, np.float32, chunks=(1024, shape[1]))
            else:
                sparse_dataset(file["X"]).append(base.rna)
            file["protein"][i * len(obs) : (i + 1) * len(obs)] = base.protein
        whole = pd.concat(tables)
        for column in ("sample", "patient", "timepoint", "tissue", "batch"):
            whole[column] = whole[column].astype(str).astype("category")
        adata = anndata.AnnData(obs=whole, var=base.genes.copy())
        adata.uns["protein_names"] = np.array(base.proteins, dtype=object)
        adata.write_h5ad(path)
        with h5py.File(path, "r+") as target:
            file.copy(file["X"], target, "X")
            file.copy(file["protein"], target["obsm"], "protein")
            target["obsm/protein"].attrs.update(
                {"encoding-type": "array", "encoding-version": "0.2.0"}
            )
    part.unlink()
    return len(whole)


def resident() -> float:
    """Largest resident set of this process, in MB; `getrusage` counts that of its parent too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def run_child(run: Path, path: Path, output: Path) -> None:
    """Embed a file, and write what it took to stdout."""
    from recart.config.compose import compose
    from recart.inference.launch import embed_run

    warnings.simplefilter("ignore")
    imported = resident()
    settings = [
        "data=h5ad",
        f"run={run}",
        f"data.path={path}",
        f"output={output}",
        "reports=[]",
        "data.limits.min_cells=5",
    ]
    start, before = time.perf_counter(), time.process_time()
    embed_run(compose(settings, entry="embed"))
    took = {
        "wall": time.perf_counter() - start,
        "cpu": time.process_time() - before,
        "MB": resident(),
        "MB of imports": imported,
    }
    sys.stdout.write(json.dumps(took))


def at_once(stack: Any, bound: Any, store: Any, ranges: list[slice], workers: int) -> None:
    """The mean over batches, and as if each were the unseen one, from one pass."""
    from recart.training.encoding import encode_by_batch

    unseen = replace(bound, batch_of_sample=np.full(len(store.samples), -1))
    encode_by_batch(stack, unseen, store, ranges, workers)


def in_turn(stack: Any, bound: Any, store: Any, ranges: list[slice], workers: int) -> None:
    """The same from a pass for each."""
    from recart.training.encoding import encode

    for batch in range(-1, len(bound.features.spec.batches)):
        as_if = replace(bound, batch_of_sample=np.full(len(store.samples), batch))
        encode(stack, as_if, store, ranges, workers)


def encoders(genes: int, runs: int) -> list[str]:
    """Rates of the encoder of each, in turns."""
    import torch
    from cells import random_store
    from clocks import Rates, now
    from contenders import anndata_of, quiet, totalvi, train_totalvi

    from recart.data.features import FeatureChoice, bind
    from recart.models.encoder import JointEncoder
    from recart.models.masking import Masking
    from recart.models.rna import NegativeBinomial
    from recart.models.totalvi import Sizes, TotalVI
    from recart.training.encoding import encode
    from recart.training.executors.cores import allowed_cores

    quiet()
    cores = allowed_cores()
    store = random_store(ENCODED, genes, PROTEINS_OF_RANDOM, PATIENTS)
    choice = FeatureChoice(n_genes=genes, exclude=[], prior_cells=100)
    features = choice.fit(store, np.arange(2_000), 0)
    spec = features.spec
    sizes = Sizes(
        genes=len(spec.genes), proteins=len(spec.proteins), receptor=0, batches=(len(spec.batches),)
    )
    recipe = TotalVI(LATENT, HIDDEN, JointEncoder(2), 1, 0.2, Masking(0.0), rna=NegativeBinomial())
    stack = recipe.stack(sizes, seeds=[0])
    stack.set_batch_prior(0, torch.from_numpy(features.batch_share))
    bound = bind(features, store)
    ranges = [store.sample_slice(s) for s in range(len(store.samples))]
    peer = totalvi(anndata_of(store), latent=LATENT, hidden=HIDDEN)
    rows = np.arange(ENCODED)
    train_totalvi(peer, [rows[:512], rows[512:1024], rows[1024:]], epochs=1, batch=256)
    rates = Rates()
    for run in range(runs + 1):
        torch.set_num_threads(1)
        start = now()
        encode(stack, bound, store, ranges, workers=cores)
        seconds = {"recart": now() - start}
        for name, way in (("at once", at_once), ("in turn", in_turn)):
            start = now()
            way(stack, bound, store, ranges, cores)
            seconds[f"recart, unseen batch, {name}"] = now() - start
        for threads in sorted({1, cores}):
            torch.set_num_threads(threads)
            start = now()
            peer.get_latent_representation(batch_size=1024)
            seconds[f"TOTALVI, threads of torch: {threads}"] = now() - start
        if run:  # the first round warms up
            for name, own in seconds.items():
                rates.add(name, own)
    density = store.rna.nnz / np.prod(store.rna.shape)
    return [
        f"encoder: {ENCODED:,} random cells x {genes:,} genes ({density:.1%} non-zero) x "
        f"{PROTEINS_OF_RANDOM} proteins, {HIDDEN} hidden, {LATENT} latents, {cores} threads, "
        f"medians of {runs} runs in turn",
        *rates.lines("TOTALVI, threads of torch: 1", ENCODED),
    ]


def main(cells: int, genes: int, runs: int, folder: Path) -> None:
    """Print what the encoders and the embedding of one file took."""
    folder.mkdir(parents=True, exist_ok=True)
    say = sys.stdout.write
    if runs:
        say("\n".join(encoders(genes, runs)) + "\n")
        sys.stdout.flush()
    if not cells:
        return
    run = folder / "run" if (folder / "run" / "checkpoints").exists() else train(folder, genes)
    path, output = folder / f"{cells}.h5ad", folder / f"{cells}.out.h5ad"
    written = write_file(path, cells, genes)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, "--child", str(run), str(path), str(output)],
        check=True,
        stdout=subprocess.PIPE,
        env=environment,
    )
    took: dict[str, Any] = json.loads(done.stdout)
    say(
        f"embed.py: {written:,} cells x {genes:,} genes, {path.stat().st_size / 1e9:.1f} GB in, "
        f"{output.stat().st_size / 1e9:.1f} GB out, 2 members\n"
        f"  {written / took['wall']:,.0f} cells/s wall, {written / took['cpu']:,.0f} cells/CPU s, "
        f"{took['wall']:.0f} s in all\n"
        f"  {took['MB'] / 1024:.2f} GB largest resident set, of which imports "
        f"{took['MB of imports'] / 1024:.2f} GB\n"
    )
    path.unlink()
    output.unlink()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        run_child(*map(Path, sys.argv[2:5]))
    else:
        parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
        for name, default in (("cells", 100_000), ("genes", 2_000), ("runs", 3)):
            parser.add_argument(f"--{name}", type=int, default=default)
        parser.add_argument("--folder", type=Path, default=None)
        given = parser.parse_args()
        with tempfile.TemporaryDirectory() as scratch:
            place = given.folder or Path(scratch)
            main(given.cells, given.genes, given.runs, place)
