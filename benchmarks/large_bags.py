"""Claim: a job of 15 members on a million cells takes less than 16 GB, heads and all.

Twenty patients of 50,000 cells, 500 genes, 140 proteins and 140 named genes, random. The encoders
are trained on one of them for one epoch, as training takes no more with more cells (`memory.py`);
then all that a job does after training: every member's latents of all development cells, all
members' heads in one go, and the held-out bags' scores. `--lacking` takes half of the proteins from
every second patient, so that these are filled in. The figure is the highest resident memory of the
process, data and imports with it. Linux only.

    python benchmarks/large_bags.py [--cells 1000000] [--members 15] [--lacking]
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from cells import member_of, random_store
from contenders import recipes, settings
from memory import resident

from recart.config.build import build
from recart.config.compose import compose
from recart.data.bag_features import bag_features
from recart.data.bags import Admission, Reading, make_bags
from recart.data.features import bind
from recart.training.bag_latents import bag_latents
from recart.training.head_fitting import development_bags
from recart.training.jobs import restore_stack, train_encoders
from recart.training.trainer import quiet_lightning

PATIENTS, GENES, PROTEINS, NAMED, BATCH = 20, 500, 140, 140, 2048


def main(options: argparse.Namespace) -> None:
    """Print memory and time after each part."""
    start = time.process_time()

    def told(part: str) -> None:
        spent = time.process_time() - start
        sys.stdout.write(f"{part:34s} {resident('VmHWM') / 1024:6.2f} GB {spent:7.0f} CPU s\n")
        sys.stdout.flush()

    store = random_store(options.cells, GENES, PROTEINS, PATIENTS)
    if options.lacking:
        store.protein_measured[::2, PROTEINS // 2 :] = False
    labels = store.patients["response"].astype(float)
    reading = Reading(marker_genes=store.genes[:NAMED])
    bags = make_bags(store, labels, unit="patient", admission=Admission(), reading=reading)
    extras = bag_features(store, bags)
    told(f"{options.cells:,} cells")
    names = [f"m{m}" for m in range(options.members)]
    small = [member_of(name, (1,), (2,), seed=m) for m, name in enumerate(names)]
    made, trainer = recipes(GENES, epochs=1, batch=BATCH), settings()
    with quiet_lightning():
        encoders = train_encoders(
            small, store, bags, made, lambda epochs: trainer.make(epochs, [], [], Path())
        )
    told(f"{options.members} encoders trained")
    everyone = np.arange(PATIENTS)
    development = []
    for m, encoder in enumerate(encoders):
        out = (everyone + m) % PATIENTS < PATIENTS // 5
        member = replace(encoder.member, train=tuple(everyone[~out].tolist()), validation=())
        encoders[m] = replace(encoder, member=member)
        development.append(development_bags(encoders[m], made.model, store, bags, extras))
    told("latents of development bags")
    heads = build(compose().head).fit_stack(
        [own.seen for own in development], [own.labels for own in development], range(len(names))
    )
    told("heads")
    for encoder, head in zip(encoders, heads, strict=True):
        stack = restore_stack(made.model, encoder.features, encoder.state)
        rows = np.setdiff1d(everyone, encoder.member.train)
        seen = bag_latents(stack, bind(encoder.features, store), store, bags, rows, extras)
        if not np.isfinite(head.logits(seen)).all():
            raise ValueError(f"a score of {encoder.member.name} is not finite")
    told("held-out bags scored")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--members", type=int, default=15)
    parser.add_argument("--lacking", action="store_true")
    torch.set_num_threads(1)
    main(parser.parse_args())
