"""Training from disk against training in memory: rate, and memory as the cohort grows.

One simulated cohort of about 50,000 cells x 4,000 genes is written again and again, as further
patients with the same counts, straight to a store: no cohort of the full size is ever in memory,
and reading, which is what is measured, is that of distinct cells. Each run is a process of its own
with one torch thread that opens the store, chooses genes, takes some hundred training steps over
all genes and encodes some patients; streamed and in-memory runs take turns. Rates are medians;
memory is the largest resident set of the process up to that point.

    python benchmarks/streaming.py [cells ...]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import statistics
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

PATIENTS, GENES, BASE = 20, 4000, 50_000
CHOSEN, STEPS, WARM, RUNS = 2000, 300, 40, 3
BATCH, BLOCK, HIDDEN, LATENT = 256, 32, 256, 20


class Repeated:
    """Rows of an array, over and over."""

    def __init__(self, array: Any, times: int) -> None:
        self._array = array
        self.shape = (array.shape[0] * times, *array.shape[1:])
        self.dtype = array.dtype

    def __getitem__(self, rows: slice) -> Any:
        """Rows `start` to `stop`, each at its place in the array."""
        return self._array[np.arange(rows.start, min(rows.stop, self.shape[0])) % len_of(self)]


def len_of(repeated: Repeated) -> int:
    """Rows of the array that is repeated."""
    return int(repeated._array.shape[0])


def base_store() -> Any:
    """About 50,000 simulated cells."""
    from recart.data.build_store import build_store
    from recart.data.pseudonyms import Pseudonyms
    from recart.data.simulate import SimulatedCohort

    cohort = SimulatedCohort(PATIENTS, BASE * 2 // (PATIENTS * 5), GENES).read()
    with tempfile.TemporaryDirectory() as folder:
        return build_store(
            replace(cohort, chains=None),
            car_umi=None,
            clonotypes=None,
            receptor=None,
            pseudonyms=Pseudonyms(Path(folder) / "key"),
            normalised=False,
        )


def write_repeated(base: Any, times: int, path: Path) -> None:
    """Write the cohort `times` over, each time as other patients."""
    from recart.data.store import write_store

    samples, patients, cells = [], [], []
    for i in range(times):
        shift = i * len(base.cells)
        own = base.samples.assign(
            patient=base.samples["patient"] + i * len(base.patients),
            start=base.samples["start"] + shift,
            stop=base.samples["stop"] + shift,
        )
        samples.append(own.set_axis([f"{name}-{i}" for name in own.index]))
        patients.append(base.patients.set_axis([f"{name}-{i}" for name in base.patients.index]))
        codes = {"sample": i * len(base.samples), "patient": i * len(base.patients)}
        of_cells = {name: base.cells[name] + np.int32(by) for name, by in codes.items()}
        cells.append(base.cells.assign(source=base.cells["source"] + shift, **of_cells))
    large = replace(
        base,
        rna=Repeated(base.rna, times),
        protein=Repeated(base.protein, times),
        protein_measured=np.tile(base.protein_measured, (times, 1)),
        samples=pd.concat(samples),
        patients=pd.concat(patients),
        cells=pd.concat(cells, ignore_index=True),
    )
    write_store(large, path)


def resident() -> float:
    """Largest resident set of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cpu() -> float:
    """CPU seconds of this process so far, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def run_child(path: Path, in_memory: bool) -> None:
    """Train some steps, and write what it took to stdout."""
    import lightning.pytorch as pl
    import torch

    from recart.contracts import Member
    from recart.data.bags import Admission, make_bags
    from recart.data.features import FeatureChoice, bind
    from recart.data.store import open_store
    from recart.models.encoder import JointEncoder
    from recart.models.masking import Masking
    from recart.models.totalvi import TotalVI
    from recart.training.encoder_training import EncoderTraining
    from recart.training.encoding import encode
    from recart.training.jobs import Recipes, restore_stack, train_encoders
    from recart.training.trainer import quiet_lightning

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    took: dict[str, float] = {"imports MB": resident()}

    start = time.perf_counter()
    store = open_store(path, in_memory=in_memory)
    took["open s"], took["open MB"] = time.perf_counter() - start, resident()

    labels = pd.Series(np.nan, store.patients.index)
    bags = make_bags(store, labels, unit="patient", admission=Admission())
    everyone = tuple(range(len(store.patients)))
    member = Member(
        name="all",
        fold=0,
        repeat=0,
        seed=0,
        train=everyone[1:],
        validation=everyone[:1],
        held_out=(),
    )
    start = time.perf_counter()
    choice = FeatureChoice(n_genes=CHOSEN, exclude=[], prior_cells=100)
    choice.fit(store, bags.cells(bags.of_patients(member.train)), 0)
    took["choice s"], took["choice MB"] = time.perf_counter() - start, resident()

    marks: list[tuple[float, float]] = []

    class Clock(pl.Callback):
        """Notes wall and CPU time after the first steps and after the last."""

        def on_train_batch_end(self, *args: Any, **_: Any) -> None:
            if args[-1] in (WARM, STEPS - 1):
                marks.append((time.perf_counter(), cpu()))

    def trainer(epochs: int) -> pl.Trainer:
        return pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            limit_train_batches=STEPS,
            limit_val_batches=2,
            callbacks=[Clock()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )

    recipes = Recipes(
        features=replace(choice, n_genes=GENES),
        model=TotalVI(LATENT, HIDDEN, JointEncoder(2), 1, 0.2, Masking(0.0)),
        training=EncoderTraining(
            epochs=1,
            batch_size=BATCH,
            block=BLOCK,
            lr=0.004,
            weight_decay=0.0,
            clip_norm=None,
            warmup_epochs=400,
            patience=99,
        ),
    )
    with quiet_lightning():
        (encoder,) = train_encoders([member], store, bags, recipes, trainer)
    (wall_0, cpu_0), (wall_1, cpu_1) = marks
    trained = (STEPS - 1 - WARM) * BATCH
    took["train cells/s"] = trained / (wall_1 - wall_0)
    took["train cells/CPU s"] = trained / (cpu_1 - cpu_0)
    took["train MB"] = resident()

    stack = restore_stack(recipes.model, encoder.features, encoder.state)
    bound = bind(encoder.features, store)
    slices = [s for n in range(8) for s in bags.slices[n]]
    start, start_cpu = time.perf_counter(), cpu()
    latents = encode(stack, bound, store, slices)
    took["latents cells/s"] = len(latents) / (time.perf_counter() - start)
    took["latents cells/CPU s"] = len(latents) / (cpu() - start_cpu)
    took["all MB"] = resident()
    took["loss"] = encoder.best_loss
    sys.stdout.write(json.dumps(took))


def measure(path: Path, in_memory: bool) -> dict[str, float]:
    """What one run in a process of its own took."""
    place = "memory" if in_memory else "disk"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, __file__, "--child", str(path), place],
        check=True,
        stdout=subprocess.PIPE,
        env=environment,
    )
    took: dict[str, float] = json.loads(done.stdout)
    return took


def main(sizes: list[int], folder: Path, runs: int) -> None:
    """Print rates, ratios and memory for every size."""
    base = base_store()
    nnz = base.rna.nnz / len(base.cells)
    sys.stdout.write(
        f"{GENES} genes, {nnz:.0f} non-zeros a cell, {len(base.proteins)} proteins, one thread, "
        f"{STEPS} steps of {BATCH} cells, medians of {runs} runs in turn\n"
    )
    for size in sizes:
        times = max(1, round(size / len(base.cells)))
        path = folder / f"{size}.zarr"
        start = time.perf_counter()
        write_repeated(base, times, path)
        written = time.perf_counter() - start
        files = [file for file in path.rglob("*") if file.is_file()]
        on_disk = sum(file.stat().st_size for file in files) / 1e6
        results: dict[bool, list[dict[str, float]]] = {True: [], False: []}
        for _ in range(runs):
            for in_memory, found in results.items():
                found.append(measure(path, in_memory))
        medians = {
            place: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
            for place, rows in results.items()
        }
        memory, disk = medians[True], medians[False]
        sys.stdout.write(
            f"\n{times * len(base.cells):,} cells: written in {written:.0f} s, {on_disk:.0f} MB in "
            f"{len(files)} files; same loss: {memory['loss'] == disk['loss']}\n"
            f"{'':20s}{'memory':>10s}{'disk':>10s}{'ratio':>8s}\n"
        )
        for key in memory:
            sys.stdout.write(
                f"{key:20s}{memory[key]:10.4g}{disk[key]:10.4g}{disk[key] / memory[key]:8.2f}\n"
            )
        sys.stdout.flush()
        subprocess.run(["rm", "-rf", str(path)], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", nargs="*", type=int, default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--child", nargs=2, metavar=("STORE", "PLACE"))
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    if options.child:
        run_child(Path(options.child[0]), options.child[1] == "memory")
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(options.cells, Path(folder), options.runs)
