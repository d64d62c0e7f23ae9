"""Blood cells with surface protein: what the encoder makes of them.

One donor gave all cells. Random thirds of them stand in for patients: this shows that the model
fits unseen cells, not unseen people.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from recart.config.build import build
from recart.config.compose import compose
from recart.contracts import CellBatch, Member
from recart.data.bags import Admission, make_bags
from recart.data.batches import gather
from recart.data.features import BoundFeatures, bind
from recart.data.prepare import prepare
from recart.data.store import CohortStore
from recart.losses.negative_binomial import log_nb
from recart.models.totalvi import TotalVIStack
from recart.training.cohort_setup import preparation
from recart.training.encoding import encode
from recart.training.jobs import restore_stack, train_encoders
from recart.training.launch import recipes
from recart.training.trainer import quiet_lightning

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

LINEAGES = {"T": "CD3", "B": "CD19", "NK": "CD56", "monocyte": "CD14"}
# genes that code for the proteins, where RNA is a fair witness
GENES = {"CD3": "CD3D", "CD19": "CD19", "CD14": "CD14", "CD16": "FCGR3A", "CD8a": "CD8A"}


@dataclass(frozen=True)
class Trained:
    """A trained encoder, its cohort, and the cells of the third that it has not seen."""

    stack: TotalVIStack
    store: CohortStore
    train: np.ndarray
    held_out: np.ndarray
    bound: BoundFeatures

    def batch(self, store: CohortStore, rows: np.ndarray) -> CellBatch:
        return gather(store, [bind(self.bound.features, store)], [rows], width=len(rows))

    @property
    def proteins(self) -> list[str]:
        return [name.removesuffix("_TotalSeqB") for name in self.store.proteins]


def stored(path: Path, folder: Path, columns: dict[str, str]) -> CohortStore:
    config = compose(
        [
            *("data=h5ad", f"data.path={path}", "data/receptors=none"),
            *(f"data.columns.{role}={name}" for role, name in columns.items()),
        ]
    )
    made = preparation(config.data, folder, receptors=config.data.receptors, labelled=False)
    return prepare(made, lambda _: None)[0]


@pytest.fixture(scope="module")
def trained(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("protein")
    adata = ad.read_h5ad(real_data / "citeseq_pbmc/pbmc10k_citeseq_rna4000_adt14.h5ad")
    third = np.random.default_rng(0).integers(0, 3, adata.n_obs)
    adata.obs["patient"] = adata.obs["sample"] = pd.Categorical([f"third{i}" for i in third])
    adata.write_h5ad(folder / "thirds.h5ad")
    store = stored(folder / "thirds.h5ad", folder / "prepared", {})
    no_label = pd.Series(np.nan, index=store.patients.index)
    bags = make_bags(store, no_label, unit="patient", admission=Admission())
    member = Member(
        name="r0f0", fold=0, repeat=0, seed=1, train=(0,), validation=(1,), held_out=(2,)
    )
    config = compose(["features.n_genes=1000", "training.epochs=40", "model.masking.modality=0.3"])
    settings, made = build(config.trainer), recipes(config)
    with quiet_lightning():
        (encoder,) = train_encoders(
            [member], store, bags, made, lambda epochs: settings.make(epochs, [], [], folder)
        )
    return Trained(
        stack=restore_stack(made.model, encoder.features, encoder.state),
        store=store,
        train=bags.cells(bags.of_patients([0])),
        held_out=bags.cells(bags.of_patients([2])),
        bound=bind(encoder.features, store),
    )


def without_protein(store: CohortStore) -> CohortStore:
    assert store.protein is not None
    return replace(
        store,
        protein=np.zeros_like(store.protein),
        protein_measured=np.zeros_like(store.protein_measured),
    )


def lineage_of(trained: Trained) -> np.ndarray:
    """Lineage of each held-out cell with exactly one marker protein, else empty."""
    assert trained.store.protein is not None
    logs = np.log1p(trained.store.protein[trained.held_out].astype(float))
    positive = []
    for marker in LINEAGES.values():
        own = logs[:, [trained.proteins.index(marker)]]
        centres = np.sort(KMeans(2, n_init=3, random_state=0).fit(own).cluster_centers_.ravel())
        positive.append(own.ravel() > centres.mean())
    table = np.stack(positive, axis=1)
    names = np.array(list(LINEAGES))[table.argmax(axis=1)]
    return np.where(table.sum(axis=1) == 1, names, "")


@torch.no_grad()
def test_unseen_cells_are_explained_better_than_by_the_mean_of_each_gene(trained: Trained) -> None:
    batch = trained.batch(trained.store, trained.held_out)
    terms = trained.stack.terms(batch, None)
    model = -terms["rna"].mean().item()
    bound = model - terms["kl_z"].mean().item()

    x = trained.batch(trained.store, trained.train).x.dense()[0].double()
    share = (x.sum(0) + 0.5) / (x + 0.5 / len(x)).sum()
    # the mean model may fit the dispersion of each gene as well as it can
    grid = torch.logspace(-2, 3, 26, dtype=torch.float64)
    mu = x.sum(1, keepdim=True) * share
    fit = torch.stack([log_nb(x, mu, theta.expand(x.shape[1])).sum(0) for theta in grid])
    theta = grid[fit.argmax(0)]
    y = batch.x.dense()[0].double()
    mean = log_nb(y, y.sum(1, keepdim=True) * share, theta).sum(1).mean().item()
    assert model > mean + 10
    # also after paying for what the latent was told about the cell
    assert bound > mean


@torch.no_grad()
def test_the_latent_separates_the_lineages(trained: Trained) -> None:
    lineage = lineage_of(trained)
    known = lineage != ""
    counts = {name: int((lineage == name).sum()) for name in LINEAGES}
    assert min(counts.values()) > 40
    assert known.mean() > 0.7
    for what, store in (("RNA + protein", trained.store), ("RNA", without_protein(trained.store))):
        z = trained.stack.latent(trained.batch(store, trained.held_out)).mean_mbl[0].numpy()
        guess = cross_val_predict(KNeighborsClassifier(15), z[known], lineage[known], cv=5)
        recall = {n: float((guess[lineage[known] == n] == n).mean()) for n in LINEAGES}
        assert min(recall.values()) > 0.8, what


@torch.no_grad()
def test_hidden_proteins_are_imputed_from_rna(trained: Trained) -> None:
    assert trained.store.protein is not None
    hidden = without_protein(trained.store)
    imputed = trained.stack.expected(trained.batch(hidden, trained.held_out))[1][0].numpy()
    truth = trained.store.protein[trained.held_out]
    rank = {
        name: float(spearmanr(imputed[:, a], truth[:, a]).statistic)
        for a, name in enumerate(trained.proteins)
    }
    assert all(rank[name] > 0.5 for name in ("CD3", "CD4", "CD14", "CD16"))
    assert np.median(list(rank.values())) > 0.3


@torch.no_grad()
def test_cells_of_an_rna_experiment_get_the_proteins_that_their_rna_speaks_of(
    trained: Trained, real_data: Path, tmp_path: Path
) -> None:
    columns = {"sample": "dataset", "patient": "constant:donor"}
    store = stored(real_data / "citeseq_pbmc/pbmc5k_rna4000.h5ad", tmp_path, columns)
    assert store.protein is None
    rows = np.arange(len(store.cells))
    imputed = trained.stack.expected(trained.batch(store, rows))[1][0].numpy()
    assert np.isfinite(imputed).all()
    rank = {}
    for protein, gene in GENES.items():
        rna = store.rna[:, store.genes.index(gene)].toarray().ravel() / store.cells["n_counts"]
        column = trained.proteins.index(protein)
        rank[protein] = float(spearmanr(imputed[:, column], rna).statistic)
    assert rank["CD3"] > 0.5
    assert rank["CD14"] > 0.5
    assert min(rank.values()) > 0.1


@torch.no_grad()
def test_cells_of_an_rna_experiment_land_beside_their_kind(
    trained: Trained, real_data: Path, tmp_path: Path
) -> None:
    """Without protein, by another kit and depth, in a batch that the member does not know."""
    columns = {"sample": "dataset", "patient": "constant:donor", "batch": "dataset"}
    store = stored(real_data / "citeseq_pbmc/pbmc5k_rna4000.h5ad", tmp_path, columns)
    bound = bind(trained.bound.features, store)
    assert (bound.batch_of_sample < 0).all()
    z = encode(trained.stack, bound, store, [slice(0, len(store.cells))])
    lineage = lineage_of(trained)
    known = np.flatnonzero(lineage != "")
    batch = trained.batch(trained.store, trained.held_out[known])
    reference = trained.stack.latent(batch).mean_mbl[0].numpy()
    guess = KNeighborsClassifier(15).fit(reference, lineage[known]).predict(z)

    def has(*genes: str) -> np.ndarray:
        return (store.rna[:, [store.genes.index(gene) for gene in genes]].toarray() > 0).all(1)

    t, b, mono = has("CD3D", "IL32"), has("MS4A1", "CD79A"), has("CD14", "LYZ")
    nk = has("GNLY", "NKG7") & ~has("CD3D") & ~has("IL7R")
    truth = {"T": t & ~b & ~mono, "B": b & ~t & ~mono, "monocyte": mono & ~t & ~b, "NK": nk & ~mono}
    for name, cells in truth.items():
        assert cells.sum() > 50, name
        assert (guess[cells] == name).mean() > 0.8, name


def hidden(store: CohortStore, genes: float, proteins: float) -> CohortStore:
    """Without random shares of the genes and of the panel."""
    rng = np.random.default_rng(0)
    kept = np.sort(rng.permutation(len(store.genes))[round(genes * len(store.genes)) :])
    measured = np.array(store.protein_measured)
    panel = len(store.proteins)
    measured[:, rng.permutation(panel)[: round(proteins * panel)]] = False
    return replace(
        store,
        rna=store.rna[:, kept],
        genes=tuple(store.genes[g] for g in kept),
        protein_measured=measured,
    )


# shares of genes and of the panel that are hidden -> how far cells may move at most
MOST = {
    (0.01, 0): 0.05,
    (0.02, 0): 0.05,
    (0.05, 0): 0.1,
    (0.1, 0): 0.1,
    (0.2, 0): 0.15,
    (0.4, 0): 0.25,
    (0, 0.5): 0.15,
    (0, 1): 0.15,
}


def test_what_is_hidden_moves_cells_little_against_the_way_between_lineages(
    trained: Trained,
) -> None:
    """Run with `-rP` to see the table."""
    lineage = lineage_of(trained)
    of_cell = trained.store.cells["sample"].to_numpy()
    samples = np.unique(of_cell[trained.held_out])
    slices = [trained.store.sample_slice(int(s)) for s in samples]

    def latents(store: CohortStore) -> np.ndarray:
        return encode(trained.stack, bind(trained.bound.features, store), store, slices)

    whole = latents(trained.store)
    centres = np.stack([whole[lineage == name].mean(0) for name in LINEAGES])
    between = np.median(pdist(centres))
    way = {}
    for shares in MOST:
        off = np.linalg.norm(latents(hidden(trained.store, *shares)) - whole, axis=1)
        way[shares] = np.quantile(off, (0.5, 0.95)) / between
        half, most = way[shares]
        line = (
            f"{shares[0]:.0%} of genes, {shares[1]:.0%} of the panel: {half:.3f}, 95 % {most:.3f}"
        )
        sys.stdout.write(f"{line}\n")
    assert all(0 < way[shares][0] < most for shares, most in MOST.items()), way
