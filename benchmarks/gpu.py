"""On a card: cells a second of stacks of 1 to 100 members, against its ceilings and TOTALVI.

Three things are measured in one run, on random cells of one shape:

- ceilings: the largest rate of matrix products (bfloat16, float32 with and without TF32) and of
  copies on the card;
- steps: training steps of a stack whose minibatches lie on the card already, and what shares of the
  ceilings their matrix products and the reading and writing of weights, gradients and moments are;
- epochs: what a user waits for, minibatches gathered and validation included, steps recorded and
  replayed. K members in one stack against one member is the price of K folds against one.
  TOTALVI's epoch is of one fold.

A rate counts cells times members. recart runs in bfloat16 where Lightning's `bf16-mixed` has it,
the likelihoods in float32; TOTALVI in float32 with TF32 products, which its likelihoods need.
Without a card nothing is measured; `--device cpu` with tiny sizes shows that the script runs.

    python benchmarks/gpu.py [--device cuda] [--members 1 5 25 100] [--cells 20000]
"""

from __future__ import annotations

import argparse
import gc
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ceilings import FLOAT, ceilings, per_second
from cells import bags_of, member_of, random_store
from clocks import Epochs
from contenders import anndata_of, quiet, recipes, settings, totalvi, train_totalvi

from recart.contracts import CellBatch, Member
from recart.data.batches import gather
from recart.data.features import bind
from recart.data.store import CohortStore
from recart.models.noise import MemberNoise
from recart.models.sparse import SparseLinear
from recart.models.stacked import StackedLinear
from recart.models.totalvi import Sizes, TotalVIStack
from recart.training.jobs import train_encoders
from recart.training.optimizer import StackedAdam
from recart.training.trainer import quiet_lightning

PROTEINS, PATIENTS, HELD, EPOCHS = 140, 24, 3, 3
_RESIDENT = 4  # minibatches that lie on the card
# Weights are read forward and backward, their gradient is written; Adam reads weight, gradient and
# two moments and writes all but the gradient.
_PASSES = 10


def flops(stack: TotalVIStack, batch: CellBatch) -> float:
    """Of a step's matrix products; the first layer's on non-zeros, and not for its input."""
    members, width, _ = batch.x.shape
    total = 0.0
    for layer in stack.modules():
        if isinstance(layer, StackedLinear):
            total += 6.0 * members * width * layer.weight[0].numel()
        elif isinstance(layer, SparseLinear):
            total += 4.0 * len(batch.x.value_n) * layer.weight.shape[-1]
    return total


def members_of(count: int) -> list[Member]:
    """Members that differ in their seeds."""
    everyone = tuple(range(PATIENTS))
    return [member_of(f"m{i}", everyone[HELD:], everyone[:HELD], seed=i) for i in range(count)]


def steps(
    store: CohortStore, count: int, device: torch.device, options: argparse.Namespace
) -> tuple[float, float, float]:
    """Cells a second, FLOP a second, and bytes of weights a second."""
    members, rng = members_of(count), np.random.default_rng(0)
    made = recipes(len(store.genes), epochs=1, batch=options.batch)
    features = made.features.fit(store, np.arange(len(store.cells)), 0)
    bound = [bind(features, store)] * count
    batches = (len(features.spec.batches),) * count
    sizes = Sizes(genes=len(store.genes), proteins=PROTEINS, receptor=0, batches=batches)
    stack = made.model.stack(sizes, [member.seed for member in members]).to(device).train()
    optimizer = StackedAdam(stack.parameters(), [0.004] * count, 1e-6, 10.0)
    resident = [
        gather(
            store,
            bound,
            [rng.integers(len(store.cells), size=options.batch) for _ in members],
            width=options.batch,
        ).to(device)
        for _ in range(_RESIDENT)
    ]
    taken = 0

    def step() -> None:
        nonlocal taken
        batch, taken = resident[taken % _RESIDENT], taken + 1
        optimizer.zero_grad(set_to_none=True)
        noise = MemberNoise([member.seed for member in members], taken, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=options.precision != "32-true"):
            terms = stack.terms(batch, noise)
            loss_m = stack.loss(terms, batch.weight_mb, 1.0)
        loss_m.sum().backward()
        optimizer.step()

    rate = per_second(step, device, options.steps)
    weights = sum(own.numel() for own in stack.parameters()) * _PASSES * FLOAT
    return rate * count * options.batch, rate * flops(stack, resident[0]), rate * weights


def epoch(
    store: CohortStore,
    count: int,
    device: torch.device,
    options: argparse.Namespace,
    record: bool = True,
) -> float:
    """Wall seconds of an epoch of a stack, as `train.py` trains it, or with steps not recorded."""
    accelerator = "gpu" if device.type == "cuda" else "cpu"
    clock, trainer = Epochs(), settings(accelerator, options.precision)
    made = recipes(len(store.genes), epochs=EPOCHS, batch=options.batch)
    made = replace(made, training=replace(made.training, record=record))
    with quiet_lightning():
        train_encoders(
            members_of(count),
            store,
            bags_of(store),
            made,
            lambda epochs: trainer.make(epochs, [], [clock], Path()),
        )
    return float(clock.seconds()[1])


def peer_epoch(store: CohortStore, device: torch.device, options: argparse.Namespace) -> float:
    """Wall seconds of TOTALVI's epoch."""
    validation, clock = store.cells["patient"].to_numpy() < HELD, Epochs()
    parts = [np.flatnonzero(~validation), np.flatnonzero(validation), np.zeros(0, dtype=int)]
    train_totalvi(
        totalvi(anndata_of(store)),
        parts,
        epochs=EPOCHS,
        batch=options.batch,
        callbacks=[clock],
        accelerator="gpu" if device.type == "cuda" else "cpu",
    )
    return float(clock.seconds()[1])


def main(options: argparse.Namespace) -> None:
    """Print the table line by line, as it is measured."""
    device = torch.device(options.device)
    quiet()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "this CPU"
    write = sys.stdout.write
    limits = ceilings(device)
    write(f"{name}, torch {torch.__version__}: ")
    write(", ".join(f"{k} {v / 1e12:.3g} TFLOP/s" for k, v in limits.items() if k != "copy"))
    write(f", copy {limits['copy'] / 1e9:.4g} GB/s\n")
    store = random_store(options.cells, options.genes, PROTEINS, PATIENTS)
    cells = options.cells * (1 - HELD / PATIENTS)
    peer = peer_epoch(store, device, options)
    write(
        f"{options.cells:,} cells x {options.genes:,} genes x {PROTEINS} proteins, batches of "
        f"{options.batch}, {options.precision}; rates are cells x members a second\n"
        f"TOTALVI: {peer:.2f} s an epoch, {cells / peer:,.0f}\n"
        f"members     steps  of bfloat16  of copy    epochs  s an epoch  over one  x TOTALVI  "
        f"not recorded, s  memory MiB\n"
    )
    one = 0.0
    for count in options.members:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        rate, done, moved = steps(store, count, device, options)
        seconds = epoch(store, count, device, options)
        launched = epoch(store, count, device, options, record=False)
        one = one or seconds
        held = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else np.nan
        write(
            f"{count:7d} {rate:9,.0f} {done / limits['bfloat16']:12.1%} "
            f"{moved / limits['copy']:8.1%} {cells * count / seconds:9,.0f} {seconds:11.2f} "
            f"{seconds / one:9.2f} {peer * count / seconds:10.2f} "
            f"{launched:15.2f} {held:11.0f}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"))
    parser.add_argument("--members", type=int, nargs="+", default=[1, 5, 25, 100])
    parser.add_argument("--precision", choices=("bf16-mixed", "32-true"), default="bf16-mixed")
    for key, default in (("cells", 20_000), ("genes", 4_000), ("batch", 512), ("steps", 50)):
        parser.add_argument(f"--{key}", type=int, default=default)
    chosen = parser.parse_args()
    missing = chosen.device != "cpu" and not torch.cuda.is_available()
    message = "no CUDA device here: nothing was measured (--device cpu shows that it runs)"
    if missing and chosen.device == "cuda":
        sys.exit(message)
    if missing:
        sys.stdout.write(f"{message}\n")
    else:
        chosen.device = chosen.device or "cuda"
        main(chosen)
