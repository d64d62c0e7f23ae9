"""Training epochs and latents: recart's encoder against scvi-tools' TOTALVI and the floor.

Same cells, objective, layers, latent size, batch size, epochs and validation cells; one thread;
contenders take turns and each ratio is of medians. An epoch is what Lightning runs between two
epoch ends, validation included, after the first; CPU time is that of this process. The floor is the
time of the matrix products that a step needs (first layer on non-zeros only), measured here. Both
see the same random counts: speed is measured, nothing is learned.

    python benchmarks/encoder.py [--cells 40000] [--genes 4000] [--batch 512] [--runs 3]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cells import bags_of, member_of, random_store
from clocks import Epochs, Rates, now
from contenders import (
    HIDDEN,
    LATENT,
    anndata_of,
    quiet,
    recipes,
    settings,
    totalvi,
    train_totalvi,
)

from recart.data.features import bind
from recart.data.store import CohortStore
from recart.training.encoding import encode
from recart.training.jobs import restore_stack, train_encoders
from recart.training.trainer import quiet_lightning

EPOCHS, PROTEINS, PATIENTS, HELD = 3, 140, 24, 3
EVERYONE = tuple(range(PATIENTS))


def ours(store: CohortStore, batch: int, low: bool) -> Callable[[], Any]:
    """Training of one member that validates on the last patients."""
    bags = bags_of(store)
    member = member_of("all", EVERYONE[HELD:], EVERYONE[:HELD])
    made = recipes(len(store.genes), epochs=EPOCHS, batch=batch, bfloat16=low)

    def run() -> Any:
        clock = Epochs()
        with quiet_lightning():
            encoders = train_encoders(
                [member],
                store,
                bags,
                made,
                lambda epochs: settings().make(epochs, [], [clock], Path()),
            )
        return encoders[0], clock.seconds()

    return run


def theirs(store: CohortStore, batch: int) -> Callable[[], Any]:
    """TOTALVI, validated on the same patients."""
    adata = anndata_of(store)
    validation = store.cells["patient"].to_numpy() < HELD
    parts = [np.flatnonzero(~validation), np.flatnonzero(validation), np.zeros(0, dtype=int)]

    def run() -> Any:
        model, clock = totalvi(adata), Epochs()
        train_totalvi(model, parts, epochs=EPOCHS, batch=batch, callbacks=[clock])
        return model, clock.seconds()

    return run


def floor(store: CohortStore, batch: int) -> float:
    """CPU seconds of one training step's matrix products, as fast as this machine has them."""
    genes, wide = len(store.genes), HIDDEN + LATENT
    dense = [(PROTEINS, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, LATENT), (HIDDEN, LATENT)]
    dense += [(LATENT, HIDDEN)] * 4 + [(wide, genes)] + [(wide, PROTEINS)] * 4
    arrays = [(torch.randn(batch, i), torch.randn(i, o), torch.randn(batch, o)) for i, o in dense]
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
    quiet()
    store = random_store(cells, genes, PROTEINS, PATIENTS)
    single, low = ours(store, batch, low=False), ours(store, batch, low=True)
    model = recipes(genes, epochs=EPOCHS, batch=batch).model
    peer = theirs(store, batch)
    ranges = [store.sample_slice(s) for s in range(len(store.samples))]
    training, latents, steps = Rates(), Rates(), []
    for run in range(runs + 1):
        encoder, seconds = single()
        _, seconds_low = low()
        stack = restore_stack(model, encoder.features, encoder.state)
        bound = bind(encoder.features, store)
        start = now()
        encode(stack, bound, store, ranges)
        latent = now() - start
        trained, seconds_peer = peer()
        start = now()
        trained.get_latent_representation(batch_size=256)
        latent_peer = now() - start
        if run:  # the first round warms up
            training.add("TOTALVI", seconds_peer)
            training.add("recart, float32", seconds)
            training.add("recart, bfloat16 gene head", seconds_low)
            latents.add("TOTALVI", latent_peer)
            latents.add("recart", latent)
            steps.append(floor(store, batch))
    density = store.rna.nnz / np.prod(store.rna.shape)
    of_training = cells * (1 - HELD / PATIENTS)
    needed = statistics.median(steps) * of_training / batch
    lines = [
        f"{cells:,} cells x {genes:,} genes ({density:.1%} non-zero) x {PROTEINS} proteins, "
        f"batches of {batch}, one thread, medians of {runs} alternating runs",
        "training epoch",
        *training.lines("TOTALVI", int(of_training)),
        f"matrix products that the training steps need: {needed:.2f} CPU s; recart float32 takes "
        f"{training.median('recart, float32')[0] / needed:.2f} times that, TOTALVI "
        f"{training.median('TOTALVI')[0] / needed:.2f}",
        "latents of all cells",
        *latents.lines("TOTALVI", cells),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("cells", 40_000), ("genes", 4_000), ("batch", 512), ("runs", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    main(given.cells, given.genes, given.batch, given.runs)
