"""Held-out fit of recart and of scvi-tools' TOTALVI, trained with the same settings and seeds.

Same cells, split, layers, likelihood, dropout, learning rate, optimizer, batch size, epochs, KL
warm-up and start of the protein background; several seeds each. Held-out terms of TOTALVI come from
its own `get_reconstruction_error` and `get_elbo`, those of recart from its own terms, both at
draws from the posterior. recart lies within the spread where its mean is no further from TOTALVI's
mean than TOTALVI's seeds are from each other. TOTALVI with the optimizer it comes with (Adam with
eps = 0.01) stands beside it and is not judged.

Blood cells of `RECART_REAL_DATA`, or simulated ones where that is unset.

    python benchmarks/parity.py [cells] [genes] [epochs] [seeds]
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recart.contracts import CellBatch, Member
from recart.data.bags import Admission, make_bags
from recart.data.batches import gather
from recart.data.build_store import build_store
from recart.data.cohort import Cohort
from recart.data.features import FeatureChoice, Features, bind
from recart.data.pseudonyms import Pseudonyms
from recart.data.simulate import SimulatedCohort
from recart.data.store import CohortStore
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.noise import MemberNoise, Noise
from recart.models.totalvi import TotalVI
from recart.training.encoder_training import EncoderTraining
from recart.training.jobs import Recipes, restore_stack, train_encoders
from recart.training.trainer import TrainerSettings, quiet_lightning

LATENT, HIDDEN, DROPOUT, BATCH, LR, DRAWS = 10, 64, 0.2, 128, 4e-3, 10
EPS = 1e-8
TERMS = ("RNA", "protein", "negative ELBO")
SHARES = (0.7, 0.1)  # training and validation; the rest is held out
MODEL = TotalVI(LATENT, HIDDEN, JointEncoder(2), 1, DROPOUT, Masking(0.0))
Floats = np.ndarray[Any, np.dtype[np.float32]]


class PosteriorDraws(Noise):
    """Draws as in training, without dropout."""

    def __init__(self, step: int) -> None:
        self.noise = MemberNoise([0], step)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers."""
        return self.noise.normal(like)

    def uniform(self, like: Tensor, *_: Any, **__: Any) -> Tensor:
        """Nothing is below any share."""
        return torch.ones_like(like)

    def keep(self, like: Tensor, *_: Any, **__: Any) -> Tensor:
        """Everything stays."""
        return torch.ones_like(like)


@dataclass(frozen=True)
class Fit:
    """What a trained model says of the held-out cells.

    `terms` are the means over cells of `TERMS`, in nats; `foreground` is (c, a).
    """

    terms: Floats
    foreground: Floats


def read(cells: int, genes: int) -> Cohort:
    """Cells of one library in three parts, which stand in for patients."""
    folder, rng = os.environ.get("RECART_REAL_DATA"), np.random.default_rng(0)
    if folder:
        path = Path(folder) / "citeseq_pbmc/pbmc10k_citeseq_rna4000_adt14.h5ad"
        adata = ad.read_h5ad(path)
        rna, protein = adata.X, np.asarray(adata.obsm["protein_counts"], dtype=np.float32)
    else:
        simulated = SimulatedCohort(10, cells // 20, genes).read()
        rna, protein = simulated.rna, np.asarray(simulated.protein)
    chosen = rng.permutation(rna.shape[0])[:cells]
    shown = np.sort(np.argsort(-np.asarray(rna[chosen].sum(axis=0)).ravel())[:genes])
    rna, protein = rna[chosen][:, shown].tocsr(), protein[chosen]
    part = np.searchsorted(np.cumsum(SHARES), np.arange(len(chosen)) / len(chosen), side="right")
    names = np.array(["a_train", "b_validation", "c_held_out"])
    return Cohort(
        rna=rna,
        genes=pd.DataFrame(index=[f"g{i}" for i in range(rna.shape[1])]),
        cells=pd.DataFrame({"sample": names[part]}, index=[f"c{i}" for i in range(len(chosen))]),
        samples=pd.DataFrame({"patient": names}, index=names),
        patients=pd.DataFrame(index=names),
        protein=protein,
        proteins=[f"p{i}" for i in range(protein.shape[1])],
        protein_measured=np.ones((3, protein.shape[1]), dtype=bool),
    )


class Parts:
    """The store and which of its cells train, validate and are held out."""

    def __init__(self, store: CohortStore, parts: np.ndarray[Any, Any]) -> None:
        self.store = store
        part_of_cell = parts[store.cells["source"].to_numpy()]
        names = np.unique(parts)
        self.rows = [np.flatnonzero(part_of_cell == name) for name in names]
        patient = store.cells["patient"].to_numpy()
        self.patients = [int(patient[own[0]]) for own in self.rows]


def fit_recart(parts: Parts, epochs: int, seed: int) -> tuple[Fit, Features]:
    """Train and measure recart's encoder."""
    store = parts.store
    no_label = pd.Series(np.nan, index=store.patients.index)
    bags = make_bags(store, no_label, unit="patient", admission=Admission())
    train, validation, held_out = ((patient,) for patient in parts.patients)
    member = Member(
        name="m",
        fold=0,
        repeat=0,
        seed=seed,
        train=train,
        validation=validation,
        held_out=held_out,
    )
    recipes = Recipes(
        features=FeatureChoice(n_genes=len(store.genes), exclude=[], prior_cells=100),
        model=MODEL,
        training=EncoderTraining(
            epochs=epochs,
            batch_size=BATCH,
            block=1,
            lr=LR,
            weight_decay=0.0,
            clip_norm=None,
            warmup_epochs=epochs // 2,
            patience=epochs,
        ),
    )
    settings = TrainerSettings(
        accelerator="cpu", devices=1, precision="32-true", deterministic=False
    )
    with quiet_lightning(), tempfile.TemporaryDirectory() as folder:
        (encoder,) = train_encoders(
            [member], store, bags, recipes, lambda n: settings.make(n, [], [], Path(folder))
        )
    stack = restore_stack(recipes.model, encoder.features, encoder.state)
    rows = parts.rows[2]
    batch: CellBatch = gather(store, [bind(encoder.features, store)], [rows], width=len(rows))
    sums = np.zeros(3)
    foreground = np.zeros((len(rows), len(store.proteins)), dtype=np.float32)
    with torch.no_grad():
        for draw in range(DRAWS):
            terms = stack.terms(batch, PosteriorDraws(draw))
            rna, protein = float(terms["rna"].mean()), float(terms["protein"].mean())
            kl = float((terms["kl_z"] + terms["kl_background"]).mean())
            sums += np.array([rna, protein, rna + protein + kl]) / DRAWS
            posterior = stack.latent(batch)
            z = PosteriorDraws(DRAWS + draw).normal(posterior.mean_mbl)
            z = posterior.mean_mbl + z * posterior.variance_mbl.sqrt()
            mixing = stack.decoder(z, stack.known_batch(batch), None).mixing_mba[0]
            foreground += torch.sigmoid(-mixing).numpy() / DRAWS
    return Fit(sums.astype(np.float32), foreground), encoder.features


def fit_totalvi(
    parts: Parts, epochs: int, seed: int, features: Features, optimizer: dict[str, float]
) -> Fit:
    """Train and measure scvi-tools' TOTALVI."""
    import scvi

    store, warmup = parts.store, epochs // 2
    adata = ad.AnnData(store.rna[:].astype(np.float32))
    adata.obsm["protein"] = np.asarray(store.protein, dtype=np.float32)
    scvi.settings.seed = seed
    scvi.model.TOTALVI.setup_anndata(adata, protein_expression_obsm_key="protein")
    model = scvi.model.TOTALVI(
        adata,
        n_latent=LATENT,
        n_hidden=HIDDEN,
        dropout_rate_encoder=DROPOUT,
        dropout_rate_decoder=DROPOUT,
        use_layer_norm="both",
        use_batch_norm="none",
        empirical_protein_background_prior=False,
    )
    with torch.no_grad():
        mean, scale = features.background_mean, features.background_scale
        model.module.background_pro_alpha.copy_(torch.from_numpy(mean.T))
        model.module.background_pro_log_beta.copy_(torch.from_numpy(np.log(scale).T))
    model.train(
        max_epochs=epochs,
        lr=LR,
        batch_size=BATCH,
        accelerator="cpu",
        external_indexing=parts.rows,
        early_stopping=False,
        reduce_lr_on_plateau=False,
        # recart's first epoch has weight 1 / warm-up, TOTALVI's 0: with this they rise alike
        n_epochs_kl_warmup=warmup - 1,
        adversarial_classifier=False,
        plan_kwargs={**optimizer, "min_kl_weight": 1 / warmup},
        enable_progress_bar=False,
        logger=False,
    )
    rows = parts.rows[2]
    sums = np.zeros(3)
    for _ in range(DRAWS):
        error = model.get_reconstruction_error(indices=rows)
        gene, protein = (float(error[f"reconst_loss_{kind}"]) for kind in ("gene", "protein"))
        sums += np.array([gene, protein, -float(model.get_elbo(indices=rows))]) / DRAWS
    foreground = model.get_protein_foreground_probability(
        indices=rows, n_samples=DRAWS, return_mean=True, return_numpy=True, silent=True
    )
    return Fit(sums.astype(np.float32), foreground)


def agreement(one: Fit, other: Fit) -> tuple[float, float]:
    """Median over proteins of the correlation over cells, and the mean absolute difference."""
    pairs = zip(one.foreground.T, other.foreground.T, strict=True)
    correlation = [np.corrcoef(a, b)[0, 1] for a, b in pairs]
    return float(np.median(correlation)), float(np.abs(one.foreground - other.foreground).mean())


def table(ours: list[Fit], theirs: list[Fit], beside: list[Fit]) -> list[str]:
    """Lines of the comparison."""
    head = f"{'held-out, nats per cell':26s} {'TOTALVI':>20s} {'recart':>20s} {'own eps':>9s}"
    lines = [head + "  gap / spread"]
    for i, name in enumerate(TERMS):
        a, b, c = (np.array([fit.terms[i] for fit in fits]) for fits in (theirs, ours, beside))
        gap, spread = b.mean() - a.mean(), np.ptp(a)
        verdict = "within" if abs(gap) <= spread else ("better" if gap < 0 else "worse")
        lines.append(
            f"{name:26s} {a.mean():9.2f} ({a.min():.2f}-{a.max():.2f}) {b.mean():9.2f} "
            f"({b.min():.2f}-{b.max():.2f}) {c.mean():9.2f}  {gap:+.2f} / {spread:.2f} {verdict}"
        )
    among = [agreement(a, b) for a, b in combinations(theirs, 2)]
    across = [agreement(a, b) for a, b in product(theirs, ours)]
    for i, name in enumerate(("correlation (median protein)", "mean absolute difference")):
        a, b = np.array([pair[i] for pair in among]), np.array([pair[i] for pair in across])
        reached = b.mean() >= a.min() if i == 0 else b.mean() <= a.max()
        lines.append(
            f"foreground {name}: seeds of TOTALVI {a.mean():.3f} ({a.min():.3f}-{a.max():.3f}), "
            f"recart with TOTALVI {b.mean():.3f} ({b.min():.3f}-{b.max():.3f}) "
            f"{'within' if reached else 'outside'}"
        )
    return lines


def main(cells: int, genes: int, epochs: int, seeds: int) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    cohort = read(cells, genes)
    with tempfile.TemporaryDirectory() as folder:
        store = build_store(
            cohort,
            car_umi=None,
            clonotypes=None,
            receptor=None,
            pseudonyms=Pseudonyms(Path(folder) / "key"),
            normalised=False,
        )
    parts = Parts(store, cohort.cells["sample"].to_numpy())
    ours, features = zip(*(fit_recart(parts, epochs, seed) for seed in range(seeds)), strict=True)

    def totalvi(optimizer: dict[str, float]) -> Callable[[int], Fit]:
        return lambda seed: fit_totalvi(parts, epochs, seed, features[seed], optimizer)

    alike = list(map(totalvi({"eps": EPS, "weight_decay": 0.0}), range(seeds)))
    beside = list(map(totalvi({}), range(seeds)))
    lines = [
        f"{len(store.cells)} cells ({len(parts.rows[2])} held out) x {len(store.genes)} genes x "
        f"{len(store.proteins)} proteins, {epochs} epochs, {seeds} seeds each",
        *table(list(ours), alike, beside),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    given = [int(value) for value in sys.argv[1:]]
    main(*(given + [3000, 1000, 40, 3][len(given) :]))
