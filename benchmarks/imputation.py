"""Proteins of cells without any: joint encoder, product of experts and TOTALVI, against measured.

PBMC CITE-seq (14 proteins). Models train on the RNA and protein of 60 % of pbmc10k and validate on
10 %; of the other 30 % all proteins are hidden, imputed from RNA, and compared with what was
measured. Then proteins are imputed for pbmc5k, of which no protein is at hand, and compared with
the genes that code for them. Both libraries are of one donor each.

Per protein, averaged over proteins, mean and range over seeds: Pearson and Spearman correlation of
log1p counts over cells; slope of measured on imputed, 1 where imputed counts are calibrated; bias,
the ratio of imputed to measured counts in all. `fewer genes` are the same once a random 20 % of the
genes is hidden as well, and the shift of latents by that, in units of their spread over cells.
TOTALVI trains on the RNA of the cells it imputes, as it must; recart does not see them. With its
default warm-up (`totalvi`) its KL and protein terms do not reach full weight in so few epochs;
`totalvi-short` has recart's warm-up. Its bias changes with that and is the same on cells whose
protein it was given: a matter of this short training, so this table does not rank the packages.

    RECART_REAL_DATA=... python benchmarks/imputation.py [variant ...]

Variants are the keys of `VARIANTS` and `PEERS`; all of them unless some are named.
"""

from __future__ import annotations

import logging
import os
import resource
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import torch
from scipy import sparse

from recart.config.build import build
from recart.config.compose import compose
from recart.contracts import Member
from recart.data.bags import Admission, make_bags
from recart.data.batches import gather
from recart.data.features import bind
from recart.data.prepare import prepare
from recart.data.store import CohortStore
from recart.training.cohort_setup import preparation
from recart.training.encoding import encode
from recart.training.jobs import Recipes, restore_stack, train_encoders
from recart.training.launch import recipes
from recart.training.trainer import quiet_lightning

SEEDS, GENES, EPOCHS, HIDDEN_GENES, BATCH = (1, 2, 3), 1000, 40, 0.2, 256
PARTS = {"train": 0.6, "validation": 0.1, "test": 0.3}
MODALITY = "model.masking.modality=0.3"
VARIANTS = {
    "joint": [MODALITY],
    "product": ["model/encoder=product", MODALITY],
    "joint-genes": [MODALITY, "model.masking.genes=0.1"],
    "joint-proteins": [MODALITY, "model.masking.proteins=0.1"],
    "joint-both": [MODALITY, "model.masking.genes=0.2", "model.masking.proteins=0.2"],
    "product-genes": ["model/encoder=product", MODALITY, "model.masking.genes=0.1"],
    "product-proteins": ["model/encoder=product", MODALITY, "model.masking.proteins=0.1"],
}
CODED_BY = {  # genes of the proteins that are in the data, where one gene codes for them
    "CD127": "IL7R",
    "CD14": "CD14",
    "CD16": "FCGR3A",
    "CD19": "CD19",
    "CD3": "CD3D",
    "CD4": "CD4",
    "CD56": "NCAM1",
    "CD8a": "CD8A",
    "TIGIT": "TIGIT",
}
WARM_UP = 15  # epochs
PEERS = {"totalvi": None, "totalvi-short": WARM_UP}  # None: its default, 0.75 steps a cell
Array = np.ndarray[Any, np.dtype[Any]]


def main(variants: list[str]) -> None:
    """Print one row a variant."""
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    source = Path(os.environ["RECART_REAL_DATA"]) / "citeseq_pbmc"
    ten = ad.read_h5ad(source / "pbmc10k_citeseq_rna4000_adt14.h5ad")
    five = ad.read_h5ad(source / "pbmc5k_rna4000.h5ad")
    part = np.random.default_rng(0).choice(len(PARTS), ten.n_obs, p=list(PARTS.values()))
    ten.obs["patient"] = ten.obs["sample"] = pd.Categorical([f"part{i}" for i in part])
    five.obs["patient"] = five.obs["sample"] = "five"
    made = {name: _recipes(VARIANTS[name]) for name in variants if name in VARIANTS}
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        stores = [_stored(adata, Path(folder)) for adata in (ten, five)]
        for variant in variants:
            before = resource.getrusage(resource.RUSAGE_SELF)
            if variant in PEERS:
                genes = _genes(_recipes([]), stores[0], int(np.sum(part == 0)))
                found = [
                    _totalvi(ten, five, part == 2, genes, seed, PEERS[variant]) for seed in SEEDS
                ]
            else:
                found = _recart(made[variant], *stores)
            after = resource.getrusage(resource.RUSAGE_SELF)
            seconds = (after.ru_utime - before.ru_utime) / len(SEEDS)
            rows[variant] = {**_over_seeds(found), "CPU s/seed": f"{seconds:.0f}"}
    sys.stdout.write(pd.DataFrame(rows).to_string() + "\n")


def _over_seeds(found: list[dict[str, float]]) -> dict[str, str]:
    table = pd.DataFrame(found)
    return {
        name: f"{values.mean():.3f} ({values.min():.3f}-{values.max():.3f})"
        for name, values in table.items()
    }


def _stored(adata: ad.AnnData, folder: Path) -> CohortStore:
    path = folder / f"{adata.obs['dataset'].iloc[0]}.h5ad"
    adata.write_h5ad(path)
    config = compose(["data=h5ad", f"data.path={path}", "data/receptors=none"])
    made = preparation(config.data, folder, receptors=config.data.receptors, labelled=False)
    return prepare(made, lambda _: None)[0]


def _recart(made: Recipes, ten: CohortStore, five: CohortStore) -> list[dict[str, float]]:
    no_label = pd.Series(np.nan, index=ten.patients.index)
    bags = make_bags(ten, no_label, unit="patient", admission=Admission())
    # codes of patients follow their pseudonyms: find the parts by their sizes
    train, test, validation = np.argsort([-len(bags.cells([n])) for n in range(3)])
    members = [
        Member(
            name=f"seed{seed}",
            fold=0,
            repeat=0,
            seed=seed,
            train=(int(train),),
            validation=(int(validation),),
            held_out=(int(test),),
        )
        for seed in SEEDS
    ]
    settings = build(compose([]).trainer)
    cells = bags.cells(bags.of_patients([int(test)]))
    measured = np.asarray(ten.protein)[cells]
    rna = sparse.csc_matrix(five.rna)
    found = []
    for member in members:
        with quiet_lightning():
            (own,) = train_encoders(
                [member], ten, bags, made, lambda n: settings.make(n, [], [], Path())
            )
        stack = restore_stack(made.model, own.features, own.state)
        hidden = np.random.default_rng(member.seed).random(len(ten.genes)) < HIDDEN_GENES
        names = [
            f"no_{name}" if gone else name for name, gone in zip(ten.genes, hidden, strict=True)
        ]
        panels = {"": ten, ", fewer genes": replace(ten, genes=tuple(names))}
        result: dict[str, float] = {}
        latents = []
        for label, store in panels.items():
            blind = _blind(store, ten.proteins)
            imputed = _imputed(stack, own, blind, cells)
            scores = _scores(imputed, measured)
            result |= {f"{name}{label}": value for name, value in scores.items()}
            bound = bind(own.features, store)
            ranges = [slice(int(cells[0]), int(cells[-1]) + 1)]
            latents.append(encode(stack, bound, store, ranges))
        spread = np.sqrt(np.square(latents[0] - latents[0].mean(0)).sum(1).mean())
        shift = np.sqrt(np.square(latents[1] - latents[0]).sum(1).mean())
        result["latent shift, fewer genes"] = float(shift / spread)
        result["active dimensions"] = own.history[own.best_epoch]["active_dimensions"]
        everything = np.arange(len(five.cells))
        result["10k -> 5k, with gene"] = _with_genes(
            _imputed(stack, own, _blind(five, ten.proteins), everything),
            rna,
            five.genes,
            ten.proteins,
        )
        found.append(result)
    return found


def _recipes(overrides: list[str]) -> Recipes:
    return recipes(
        compose(
            [
                f"features.n_genes={GENES}",
                f"training.epochs={EPOCHS}",
                f"training.warmup_epochs={WARM_UP}",
                *overrides,
            ]
        )
    )


def _genes(made: Recipes, store: CohortStore, training_cells: int) -> list[str]:
    """The genes that recart chooses on its training cells."""
    sizes = np.bincount(store.cells["patient"])
    (train,) = np.flatnonzero(sizes == training_cells)
    cells = np.flatnonzero(store.cells["patient"].to_numpy() == train)
    return list(made.features.fit(store, cells, 0).spec.genes)


def _blind(store: CohortStore, proteins: tuple[str, ...]) -> CohortStore:
    """The store with these proteins, none of them measured."""
    return replace(
        store,
        protein=np.zeros((len(store.cells), len(proteins)), dtype=np.uint16),
        proteins=proteins,
        protein_measured=np.zeros((len(store.samples), len(proteins)), dtype=bool),
    )


@torch.no_grad()
def _imputed(stack: Any, own: Any, store: CohortStore, cells: Array) -> Array:
    bound = bind(own.features, store)
    parts = []
    for start in range(0, len(cells), BATCH):
        rows = cells[start : start + BATCH]
        parts.append(stack.expected(gather(store, [bound], [rows], width=len(rows)))[1][0].numpy())
    return np.concatenate(parts)


def _scores(imputed: Array, measured: Array) -> dict[str, float]:
    x, y = np.log1p(imputed.astype(float)), np.log1p(measured.astype(float))
    pairs = [(x[:, a], y[:, a]) for a in range(x.shape[1])]
    return {
        "Pearson": float(np.mean([np.corrcoef(one, two)[0, 1] for one, two in pairs])),
        "Spearman": float(np.mean([_spearman(one, two) for one, two in pairs])),
        "slope": float(np.mean([np.cov(one, two)[0, 1] / one.var(ddof=1) for one, two in pairs])),
        "bias": float(imputed.sum() / measured.sum()),
    }


def _spearman(one: Array, two: Array) -> float:
    return float(np.corrcoef(pd.Series(one).rank(), pd.Series(two).rank())[0, 1])


def _with_genes(
    imputed: Array, rna: sparse.csc_matrix, names: Sequence[str], proteins: Sequence[str]
) -> float:
    """Mean Spearman correlation of imputed proteins with the RNA of their genes."""
    gene = {name: position for position, name in enumerate(names)}
    protein = {name.removesuffix("_TotalSeqB"): position for position, name in enumerate(proteins)}
    pairs = [(protein[p], gene[g]) for p, g in CODED_BY.items() if p in protein and g in gene]
    return float(np.mean([_spearman(imputed[:, a], rna[:, g].toarray().ravel()) for a, g in pairs]))


def _totalvi(
    ten: ad.AnnData, five: ad.AnnData, test: Array, genes: list[str], seed: int, warm_up: int | None
) -> dict[str, float]:
    import scvi

    scvi.settings.verbosity = logging.ERROR
    scvi.settings.seed = seed
    both = ad.concat([ten, five], join="inner")
    proteins = ten.obsm["protein_counts"].to_numpy(dtype=np.float32)
    measured = proteins[test]
    shown = np.concatenate([proteins, np.zeros((five.n_obs, proteins.shape[1]))])
    shown[: ten.n_obs][test] = 0  # a batch whose proteins are all zero is one without
    both.obsm["protein"] = pd.DataFrame(shown, index=both.obs_names)
    both.obs["panel"] = ["no" if gone else "yes" for gone in test] + ["five"] * five.n_obs
    both = both[:, genes].copy()
    both.X = both.X.astype(np.float32)
    scvi.model.TOTALVI.setup_anndata(both, "protein", batch_key="panel")
    model = scvi.model.TOTALVI(
        both, n_latent=10, n_hidden=128, use_layer_norm="both", use_batch_norm="none"
    )
    model.train(
        max_epochs=EPOCHS,
        accelerator="cpu",
        reduce_lr_on_plateau=False,  # needs a logger
        n_epochs_kl_warmup=warm_up,
        enable_progress_bar=False,
        logger=False,
    )
    _, imputed = model.get_normalized_expression(
        transform_batch="yes",
        n_samples=10,
        return_mean=True,
        include_protein_background=True,
        sample_protein_mixing=False,
        return_numpy=True,
    )
    proteins_of = list(ten.obsm["protein_counts"].columns)
    rna = sparse.csc_matrix(five.X)
    return {
        **_scores(imputed[: ten.n_obs][test], measured),
        "10k -> 5k, with gene": _with_genes(
            imputed[ten.n_obs :], rna, list(five.var_names), proteins_of
        ),
    }


if __name__ == "__main__":
    main(sys.argv[1:] or [*VARIANTS, *PEERS])
