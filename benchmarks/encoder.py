"""Training epoch and latents: recart's encoder against scvi-tools' TOTALVI, in one run.

Same cells, genes, proteins, layer sizes, latent size, batch size and epochs; one thread; runs take
turns, and the ratio is of medians of CPU time, which other work on the machine moves least.
recart trains on all patients but one, which validates; TOTALVI trains on 90 % of the cells and
validates on the rest, its default. Rates count training cells only.

    python benchmarks/encoder.py [cells] [genes]
"""

from __future__ import annotations

import logging
import resource
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from recart.contracts import Member
from recart.data.bags import Admission, make_bags
from recart.data.build_store import build_store
from recart.data.features import FeatureChoice, bind
from recart.data.pseudonyms import Pseudonyms
from recart.data.simulate import SimulatedCohort
from recart.models.totalvi import TotalVI
from recart.training.encoding import encode
from recart.training.jobs import Recipes, restore_stack, train_encoders
from recart.training.module import EncoderTraining
from recart.training.trainer import TrainerSettings, quiet_lightning

EPOCHS, BATCH, HIDDEN, LATENT, RUNS = 2, 256, 256, 20, 3


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process for a piece of work, and its result."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    result = work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, result


def main(cells: int, genes: int) -> None:
    """Print rates and ratios."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    import anndata
    import scvi

    scvi.settings.verbosity = logging.ERROR
    patients = 24
    cohort = SimulatedCohort(patients, cells // (patients * 5 // 2), genes).read()
    with tempfile.TemporaryDirectory() as folder:
        store = build_store(
            cohort,
            car_umi=None,
            clonotypes=None,
            receptor=None,
            pseudonyms=Pseudonyms(Path(folder) / "key"),
            normalised=False,
        )
    bags = make_bags(
        store, pd.Series(np.nan, store.patients.index), unit="patient", admission=Admission()
    )
    everyone = tuple(range(len(store.patients)))
    # the same patients validate: what is measured is speed, nothing is claimed of the fit
    member = Member(
        name="all",
        fold=0,
        repeat=0,
        seed=0,
        train=everyone[1:],
        validation=everyone[:1],
        held_out=(),
    )
    recipes = Recipes(
        features=FeatureChoice(n_genes=genes, exclude=[], prior_cells=100),
        model=TotalVI(LATENT, HIDDEN, 2, 1, 0.2, 0.0),
        training=EncoderTraining(
            epochs=EPOCHS,
            batch_size=BATCH,
            block=32,
            lr=0.004,
            weight_decay=0.0,
            clip_norm=None,
            warmup_epochs=400,
            patience=99,
        ),
    )
    trainer = TrainerSettings(
        accelerator="cpu", devices=1, precision="32-true", deterministic=False
    )
    adata = anndata.AnnData(store.rna.astype(np.float32))
    adata.obsm["protein"] = np.asarray(store.protein, dtype=np.float32)
    batches = store.samples["batch"].to_numpy()[store.cells["sample"].to_numpy()]
    adata.obs["batch"] = pd.Categorical(batches)
    scvi.model.TOTALVI.setup_anndata(
        adata, protein_expression_obsm_key="protein", batch_key="batch"
    )

    def ours() -> Any:
        with quiet_lightning():
            return train_encoders(
                [member], store, bags, recipes, lambda epochs: trainer.make(epochs, [], [], Path())
            )[0]

    def theirs() -> Any:
        model = scvi.model.TOTALVI(
            adata, n_latent=LATENT, use_layer_norm="both", use_batch_norm="none"
        )
        model.train(
            max_epochs=EPOCHS,
            batch_size=BATCH,
            accelerator="cpu",
            enable_progress_bar=False,
            adversarial_classifier=False,
            reduce_lr_on_plateau=False,
            logger=False,
        )
        return model

    ours_train, theirs_train, ours_latent, theirs_latent = [], [], [], []
    ranges = [store.sample_slice(s) for s in range(len(store.samples))]
    trained_cells = sum(s.stop - s.start for n in range(1, len(bags)) for s in bags.slices[n])
    for run in range(RUNS + 1):
        spent, encoder = cpu_seconds(ours)
        stack = restore_stack(recipes.model, encoder.features, encoder.state)
        bound = bind(encoder.features, store)
        latent, _ = cpu_seconds(lambda s=stack, b=bound: encode(s, b, store, ranges))
        spent_scvi, model = cpu_seconds(theirs)
        latent_scvi, _ = cpu_seconds(lambda m=model: m.get_latent_representation(batch_size=BATCH))
        if run:  # the first round warms up
            ours_train.append(EPOCHS * trained_cells / spent)
            theirs_train.append(EPOCHS * 0.9 * len(store.cells) / spent_scvi)
            ours_latent.append(len(store.cells) / latent)
            theirs_latent.append(len(store.cells) / latent_scvi)
    density = store.rna.nnz / np.prod(store.rna.shape)
    lines = [
        f"{len(store.cells):,} cells x {genes} genes ({density:.0%} non-zero) x "
        f"{len(store.proteins)} proteins, one thread, cells per CPU second, median of {RUNS} runs"
    ]
    for name, mine, peer in (
        ("train() with construction and priors", ours_train, theirs_train),
        ("latents", ours_latent, theirs_latent),
    ):
        a, b = statistics.median(mine), statistics.median(peer)
        lines.append(f"{name:38s} recart {a:8,.0f}   TOTALVI {b:8,.0f}   ratio {a / b:.2f}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    given = [int(value) for value in sys.argv[1:]]
    main(*(given + [6000, 2000][len(given) :]))
