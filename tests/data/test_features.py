"""Features are fitted to the training cells alone, and meet other stores by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recart.data.features import FeatureChoice, Features, bind
from recart.data.store import CohortStore

MakeStore = Callable[..., CohortStore]


def _choice(n_genes: int = 15, exclude: Sequence[str] = ()) -> FeatureChoice:
    return FeatureChoice(n_genes=n_genes, exclude=exclude, prior_cells=20)


def _cells(store: CohortStore, patients: Sequence[int]) -> np.ndarray:
    return np.flatnonzero(store.cells["patient"].isin(patients))


def _bytes(features: Features) -> list[object]:
    names = [f.name for f in fields(features) if f.name not in ("spec", "levels")]
    arrays = [getattr(features, name) for name in names] + list(vars(features.levels).values())
    return [features.spec, *[(a.dtype, a.tobytes()) for a in arrays]]


def test_other_patients_leave_every_byte_unchanged(make_store: MakeStore) -> None:
    store = make_store(patients=6)
    cells = _cells(store, [0, 2, 3])
    fitted = _choice().fit(store, cells, seed=1)
    assert len(fitted.spec.genes) == 15
    assert fitted.spec.patients == ("P-000", "P-002", "P-003")

    others = np.setdiff1d(np.arange(len(store.cells)), cells)
    rng = np.random.default_rng(9)
    rna = store.rna.toarray()
    rna[others] = rng.poisson(50, rna[others].shape)
    assert store.protein is not None
    protein = store.protein.copy()
    protein[others] = rng.poisson(500, protein[others].shape)
    samples = store.samples.copy()
    held_out = ~samples["patient"].isin([0, 2, 3])
    samples.loc[held_out, "batch"] = "ANOTHER"
    poisoned = replace(
        store,
        rna=sparse.csr_matrix(rna),
        protein=protein,
        samples=samples,
        patients=store.patients.assign(response="R"),
    )
    assert _bytes(_choice().fit(poisoned, cells, seed=1)) == _bytes(fitted)
    # and the probe can fail: the same change to a training patient shows
    rna[cells] = rng.poisson(50, rna[cells].shape)
    changed = replace(poisoned, rna=sparse.csr_matrix(rna))
    assert _bytes(_choice().fit(changed, cells, seed=1)) != _bytes(fitted)


def test_variable_genes_are_chosen(make_store: MakeStore) -> None:
    store = make_store(patients=4, cells=80)
    # means of all sizes, so that high variance is told from high mean
    means = np.linspace(1.0, 40.0, store.rna.shape[1])
    rna = np.random.default_rng(0).poisson(means, store.rna.shape)
    kind = np.random.default_rng(1).integers(0, 2, len(rna))
    rna[:, [4, 17, 30]] = np.random.default_rng(2).poisson(
        np.where(kind[:, None], 1.9, 0.1) * means[[4, 17, 30]]
    )
    store = replace(store, rna=sparse.csr_matrix(rna.astype(np.uint16)))
    chosen = _choice(n_genes=3).fit(store, np.arange(len(rna)), seed=0).spec.genes
    assert chosen == ("GENE4", "GENE17", "GENE30")  # in the order of the store
    without = _choice(n_genes=3, exclude=["^GENE4$", "GENE30"]).fit(store, np.arange(len(rna)), 0)
    assert "GENE17" in without.spec.genes
    assert not {"GENE4", "GENE30"} & set(without.spec.genes)
    assert len(without.spec.genes) == 3


def test_patterns_of_receptor_segments(make_store: MakeStore) -> None:
    store = make_store(patients=2)
    names = list(store.genes)
    names[:6] = ["TRBV20-1", "TRAC", "IGHV3-23", "IGKC", "TRAJ1", "STRBV"]
    store = replace(store, genes=tuple(names))
    everything = _choice(n_genes=1000, exclude=[r"^TR[ABGD][VDJ]", r"^IG[HKL][VDJ]"])
    genes = everything.fit(store, np.arange(len(store.cells)), 0).spec.genes
    assert not {"TRBV20-1", "IGHV3-23", "TRAJ1"} & set(genes)
    assert {"TRAC", "IGKC", "STRBV"} <= set(genes)
    # more genes asked for than there are: all that are eligible, without a choice
    assert len(genes) == len(names) - 3


def test_receptor_segments_are_known_by_id_and_with_the_prefix_of_a_genome(
    make_store: MakeStore,
) -> None:
    store = make_store(patients=2)
    names = list(store.genes)
    segments = ["ENSG00000211710", "ENSG00000211934.2", "GRCh38_TRBV20-1", "GRCh38_____TRAJ1"]
    names[:4], names[4] = segments, "ENSG00000277734"  # TRAC
    store = replace(store, genes=tuple(names))
    everything = _choice(n_genes=1000, exclude=[r"^TR[ABGD][VDJ]", r"^IG[HKL][VDJ]"])
    genes = everything.fit(store, np.arange(len(store.cells)), 0).spec.genes
    assert list(genes) == names[4:]


def test_normalised_data(make_store: MakeStore) -> None:
    store = make_store(patients=4, cells=80)
    values = store.rna.astype(np.float32)
    values.data = np.log1p(values.data)
    store = replace(store, rna=values, normalised=True)
    fitted = _choice(n_genes=10).fit(store, _cells(store, [0, 1]), 0)
    assert len(set(fitted.spec.genes)) == 10


def test_genes_without_any_count(make_store: MakeStore) -> None:
    store = make_store(patients=4, cells=80)
    rna = store.rna.toarray()
    rna[:, :20] = 0
    store = replace(store, rna=sparse.csr_matrix(rna))
    chosen = _choice(n_genes=10).fit(store, np.arange(len(rna)), 0).spec.genes
    assert not set(chosen) & {f"GENE{i}" for i in range(20)}


def test_background_prior(make_store: MakeStore) -> None:
    """Two levels a hundredfold apart: the prior starts at the lower one."""
    store = make_store(patients=3, cells=60)
    rng = np.random.default_rng(0)
    assert store.protein is not None
    high = rng.random(store.protein.shape) < 0.4
    protein = rng.poisson(np.where(high, 800.0, 8.0)).astype(np.uint16)
    store = replace(store, protein=protein)
    fitted = _choice().fit(store, np.arange(len(protein)), 0)
    assert fitted.spec.batches == ("B0", "B1", "B2")
    assert fitted.background_mean.shape == fitted.background_scale.shape == (3, 7)
    np.testing.assert_allclose(fitted.background_mean, np.log1p(8.0), atol=0.4)
    assert (fitted.background_scale > 0).all()
    assert (fitted.background_scale < 1).all()
    assert fitted.protein_seen.all()


@pytest.mark.parametrize("value", [0, 3])
def test_proteins_without_any_contrast_stay_finite(make_store: MakeStore, value: int) -> None:
    store = make_store(patients=2)
    assert store.protein is not None
    store = replace(store, protein=np.full_like(store.protein, value))
    fitted = _choice().fit(store, np.arange(len(store.cells)), 0)
    assert np.isfinite(fitted.background_mean).all()
    assert (fitted.background_scale > 0).all()
    assert fitted.protein_seen.all() == (value > 0)


def test_a_protein_of_one_batch_only(make_store: MakeStore) -> None:
    """Unmeasured zeros are no background; seen in one batch is seen."""
    store = make_store(patients=3, cells=60)
    assert store.protein is not None
    lacks = (store.samples["batch"] == "B1").to_numpy()
    measured = store.protein_measured.copy()
    measured[lacks, 2] = False
    measured[:, 5] = False
    protein = store.protein.copy()
    protein[~measured[store.cells["sample"]]] = 0
    own = replace(store, protein=protein, protein_measured=measured)
    fitted = _choice().fit(own, np.arange(len(protein)), 0)
    assert fitted.protein_seen.tolist() == [True] * 5 + [False, True]
    # five measured proteins a cell at least are needed for a mixture; here there are
    assert np.isfinite(fitted.background_mean).all()


def test_batch_shares(make_store: MakeStore) -> None:
    store = make_store(patients=3)
    cells = _cells(store, [0, 1])
    fitted = _choice().fit(store, cells, 0)
    assert fitted.batch_share.sum() == pytest.approx(1.0)
    batch = store.samples["batch"].to_numpy()[store.cells["sample"].to_numpy()[cells]]
    expected = pd.Series(batch).value_counts(normalize=True)
    for name, share in zip(fitted.spec.batches, fitted.batch_share, strict=True):
        assert share == pytest.approx(expected[name])
    bare = replace(store, samples=store.samples.drop(columns="batch"))
    alone = _choice().fit(bare, cells, 0)
    assert alone.batch_share.tolist() == [1.0]
    assert (bind(alone, bare).batch_of_sample == 0).all()


def test_without_proteins_and_receptors(make_store: MakeStore) -> None:
    store = make_store(patients=2)
    bare = replace(
        store,
        protein=None,
        proteins=(),
        protein_measured=np.zeros((4, 0), bool),
        receptor=None,
        clones=None,
    )
    fitted = _choice().fit(bare, np.arange(len(bare.cells)), 0)
    assert fitted.spec.proteins == ()
    assert fitted.spec.receptor_dim == 0
    assert fitted.background_mean.shape == (3, 0)


def test_binding_by_name(make_store: MakeStore) -> None:
    store = make_store(patients=3)
    fitted = _choice().fit(store, _cells(store, [0]), 0)  # batches B0 and B1 only
    assert fitted.spec.batches == ("B0", "B1")
    own = bind(fitted, store)
    assert [store.genes[i] for i in own.genes] == list(fitted.spec.genes)
    assert own.batch_of_sample.tolist() == [0, 1, -1, 0, 1, -1]

    kept = [i for i, gene in enumerate(store.genes) if gene != fitted.spec.genes[4]][::-1]
    assert store.protein is not None
    other = replace(
        store,
        rna=store.rna[:, kept],
        genes=tuple(store.genes[i] for i in kept),
        protein=store.protein[:, [6, 0, 3]],
        proteins=("PROT6", "PROT0", "NEW"),
        protein_measured=store.protein_measured[:, :3],
        samples=store.samples.drop(columns="batch"),
    )
    met = bind(fitted, other)
    assert met.genes[4] == -1
    assert [other.genes[i] for i in np.delete(met.genes, 4)] == [
        gene for i, gene in enumerate(fitted.spec.genes) if i != 4
    ]
    assert met.proteins.tolist() == [1, -1, -1, -1, -1, -1, 0]
    assert (met.batch_of_sample == -1).all()
