"""Training epochs and latents: recart's encoder against scvi-tools' TOTALVI and the floor.

Same cells, objective, layers, latent size, batch size, epochs and share of validation cells; one
thread; contenders take turns and each ratio is of medians. An epoch is what Lightning runs between
two epoch ends, validation included, after the first; CPU time is that of this process. The floor
is the time of the matrix products that a step needs (first layer on non-zeros only), measured
here. Both members of a pair see the same random counts: speed is measured, nothing is learned.

    python benchmarks/encoder.py [--cells 40000] [--genes 4000] [--batch 512] [--runs 3]
"""

from __future__ import annotations

import argparse
import logging
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from cells import bags_of, random_store

from recart.contracts import Member
from recart.data.features import FeatureChoice, bind
from recart.data.store import CohortStore
from recart.models.rna import NegativeBinomial
from recart.models.totalvi import TotalVI
from recart.training.encoding import encode
from recart.training.jobs import Recipes, restore_stack, train_encoders
from recart.training.module import EncoderTraining
from recart.training.trainer import TrainerSettings, quiet_lightning

EPOCHS, HIDDEN, LATENT, PROTEINS, PATIENTS, HELD = 3, 256, 20, 140, 24, 3


def now() -> np.ndarray[Any, Any]:
    """CPU seconds of this process, and wall seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return np.array([usage.ru_utime + usage.ru_stime, time.perf_counter()])


def memory() -> float:
    """Highest resident memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Epochs(pl.Callback):
    """CPU and wall seconds of every epoch but the first."""

    def __init__(self) -> None:
        self.marks: list[np.ndarray[Any, Any]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        """An epoch begins where the last one, validation included, has ended."""
        self.marks.append(now())

    def on_train_end(self, *_: Any) -> None:
        """The end of the last epoch."""
        self.marks.append(now())

    def seconds(self) -> np.ndarray[Any, Any]:
        """Median over epochs of (CPU, wall)."""
        return np.median(np.diff(self.marks[1:], axis=0), axis=0)


@dataclass
class Rates:
    """CPU and wall seconds of one contender, run by run."""

    seconds: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, name: str, seconds: Any) -> None:
        """One more run."""
        self.seconds.setdefault(name, []).append(seconds)

    def median(self, name: str) -> Any:
        """(CPU, wall)."""
        return np.median(np.stack(self.seconds[name]), axis=0)

    def lines(self, peer: str, cells: int) -> Iterator[str]:
        """Rates, and ratios to `peer`."""
        for name in self.seconds:
            cpu, wall = self.median(name)
            ratio = self.median(peer) / self.median(name)
            pairs = [p[0] / o[0] for p, o in zip(self.seconds[peer], self.seconds[name], strict=True)]
            yield (
                f"{name:34s} {cells / cpu:10,.0f} {cpu:8.2f} {wall:8.2f} {ratio[0]:8.2f} "
                f"{ratio[1]:7.2f}   {min(pairs):.2f}-{max(pairs):.2f}"
            )


def ours(store: CohortStore, batch: int, low: bool) -> tuple[Callable[[], Any], Recipes]:
    """Training of one member that validates on the last patients."""
    bags = bags_of(store)
    everyone = tuple(range(PATIENTS))
    member = Member(
        name="all",
        fold=0,
        repeat=0,
        seed=0,
        train=everyone[HELD:],
        validation=everyone[:HELD],
        held_out=(),
    )
    recipes = Recipes(
        features=FeatureChoice(n_genes=len(store.genes), exclude=[], prior_cells=100),
        model=TotalVI(LATENT, HIDDEN, 2, 1, 0.2, 0.0, NegativeBinomial(bfloat16=low)),
        training=EncoderTraining(
            epochs=EPOCHS,
            batch_size=batch,
            block=32,
            lr=0.004,
            weight_decay=1e-6,
            clip_norm=None,
            warmup_epochs=400,
            patience=99,
        ),
    )
    settings = TrainerSettings(
        accelerator="cpu", devices=1, precision="32-true", deterministic=False
    )

    def run() -> Any:
        clock = Epochs()
        with quiet_lightning():
            encoders = train_encoders(
                [member],
                store,
                bags,
                recipes,
                lambda epochs: settings.make(epochs, [], [clock], Path()),
            )
        return encoders[0], clock.seconds()

    return run, recipes


def theirs(store: CohortStore, batch: int) -> Callable[[], Any]:
    """TOTALVI with LayerNorm, as recart's model."""
    import anndata
    import scvi

    scvi.settings.verbosity = logging.ERROR
    adata = anndata.AnnData(store.rna.astype(np.float32))
    adata.obsm["protein"] = np.asarray(store.protein, dtype=np.float32)
    batches = store.samples["batch"].to_numpy()[store.cells["sample"].to_numpy()]
    adata.obs["batch"] = pd.Categorical(batches)
    scvi.model.TOTALVI.setup_anndata(
        adata, protein_expression_obsm_key="protein", batch_key="batch"
    )

    def run() -> Any:
        model = scvi.model.TOTALVI(
            adata, n_latent=LATENT, use_layer_norm="both", use_batch_norm="none"
        )
        clock = Epochs()
        model.train(
            max_epochs=EPOCHS,
            train_size=1 - HELD / PATIENTS,
            batch_size=batch,
            accelerator="cpu",
            check_val_every_n_epoch=1,
            enable_progress_bar=False,
            adversarial_classifier=False,
            reduce_lr_on_plateau=False,
            logger=False,
            callbacks=[clock],
        )
        return model, clock.seconds()

    return run


def floor(store: CohortStore, batch: int) -> float:
    """CPU seconds of one training step's matrix products, as fast as this machine has them."""
    genes, wide = len(store.genes), HIDDEN + LATENT
    dense = [(PROTEINS, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, LATENT), (HIDDEN, LATENT)]
    dense += [(LATENT, HIDDEN)] * 4 + [(wide, genes)] + [(wide, PROTEINS)] * 4
    arrays = [
        (torch.randn(batch, i), torch.randn(i, o), torch.randn(batch, o)) for i, o in dense
    ]
    density = store.rna.nnz / np.prod(store.rna.shape)
    share = torch.randn(int(genes * density), HIDDEN)
    rows = torch.randn(batch, int(genes * density))

    def products() -> None:
        for x, w, out in arrays:
            _ = x @ w, out @ w.t(), x.t() @ out
        _ = rows @ share, rows.t() @ torch.ones(batch, HIDDEN)

    times = []
    for _ in range(10):
        before = now()
        products()
        times.append(float(now()[0] - before[0]))
    return statistics.median(times)


def main(cells: int, genes: int, batch: int, runs: int) -> None:
    """Print rates and ratios."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    store = random_store(cells, genes, PROTEINS, PATIENTS)
    single, recipes = ours(store, batch, low=False)
    low, _ = ours(store, batch, low=True)
    peer = theirs(store, batch)
    ranges = [store.sample_slice(s) for s in range(len(store.samples))]
    training, latents, steps, grown = Rates(), Rates(), [], {}
    for run in range(runs + 1):
        before = memory()
        encoder, seconds = single()
        _, seconds_low = low()
        grown.setdefault("recart", memory() - before)
        stack = restore_stack(recipes.model, encoder.features, encoder.state)
        bound = bind(encoder.features, store)
        start = now()
        encode(stack, bound, store, ranges)
        latent = now() - start
        before = memory()
        model, seconds_peer = peer()
        grown.setdefault("TOTALVI", memory() - before)
        start = now()
        model.get_latent_representation(batch_size=256)
        latent_peer = now() - start
        if run:  # the first round warms up
            training.add("TOTALVI", seconds_peer)
            training.add("recart, float32", seconds)
            training.add("recart, bfloat16 gene head", seconds_low)
            latents.add("TOTALVI", latent_peer)
            latents.add("recart", latent)
            steps.append(floor(store, batch))
    density = store.rna.nnz / np.prod(store.rna.shape)
    trained = cells * (1 - HELD / PATIENTS)
    needed = statistics.median(steps) * trained / batch
    head = f"{'':34s} cells/CPU s    CPU s   wall s  x CPU  x wall   range of runs"
    lines = [
        f"{cells:,} cells x {genes:,} genes ({density:.1%} non-zero) x {PROTEINS} proteins, batches "
        f"of {batch}, one thread, medians of {runs} alternating runs",
        f"training epoch\n{head}",
        *training.lines("TOTALVI", int(trained)),
        f"matrix products that the training steps need: {needed:.2f} CPU s; recart float32 takes "
        f"{training.median('recart, float32')[0] / needed:.2f} times that, TOTALVI "
        f"{training.median('TOTALVI')[0] / needed:.2f}",
        f"latents of all cells\n{head}",
        *latents.lines("TOTALVI", cells),
        "growth of the highest resident memory by the first training: "
        + ", ".join(f"{name} {grow:.0f} MiB" for name, grow in grown.items()),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("cells", 40_000), ("genes", 4_000), ("batch", 512), ("runs", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    main(given.cells, given.genes, given.batch, given.runs)
