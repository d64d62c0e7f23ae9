"""From a cohort to a store: every cell keeps what belongs to it, and no id of the input remains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recart.data.build_store import build_store
from recart.data.cohort import Cohort
from recart.data.pseudonyms import Pseudonyms
from recart.data.receptors.clonotypes import Clonotypes
from recart.data.store import CohortStore, write_store

GENES, PROTEINS, RECEPTOR = 12, 4, 3
# patient of each sample; "empty" has no cells, patient "nobody" no sample
SAMPLES = {"zeta": "Bob-77", "quux": "Ann-31", "mid": "Bob-77", "empty": "Cid-55", "last": "Ann-31"}
SIZES = {"zeta": 9, "quux": 7, "mid": 5, "empty": 0, "last": 8}


def _cohort(seed: int = 0) -> Cohort:
    """Cells in random order; the count of gene 0 and of protein 0 is the cell's number."""
    rng = np.random.default_rng(seed)
    sample = rng.permutation(np.repeat(list(SIZES), list(SIZES.values())))
    cells = len(sample)
    rna = rng.poisson(1.0, (cells, GENES))
    rna[:, 0] = np.arange(cells) + 1
    protein = rng.poisson(5.0, (cells, PROTEINS)).astype(np.float32)
    protein[:, 0] = np.arange(cells) + 1
    genes = ["CELLNUMBER", "MT-CO1", "CAR", "CAR2", *[f"G{i}" for i in range(GENES - 4)]]
    return Cohort(
        rna=sparse.csr_matrix(rna.astype(np.float32)),
        genes=pd.DataFrame(index=pd.Index(genes)),
        cells=pd.DataFrame(
            {"sample": sample, "cell_type": [f"type{i % 3}" for i in range(cells)]},
            index=pd.Index([f"BARCODE{i}" for i in range(cells)]),
        ),
        samples=pd.DataFrame(
            {
                "patient": list(SAMPLES.values()),
                "batch": ["lane-0", "lane-1", "lane-2", "lane-3", "lane-4"],
                "day": np.arange(5.0),
            },
            index=pd.Index(list(SAMPLES), name="sample"),
        ),
        patients=pd.DataFrame(
            {"response": ["CR", "PD", "CR", "PD"], "age": [61, 62, 63, 64]},
            index=pd.Index(["nobody", "Cid-55", "Bob-77", "Ann-31"], name="patient"),
        ),
        protein=protein,
        proteins=[f"P{i}" for i in range(PROTEINS)],
        protein_measured=np.arange(5 * PROTEINS).reshape(5, PROTEINS) % 3 > 0,
        dropped={"cells below 200 counts": 5},
    )


def _clonotypes(cohort: Cohort) -> tuple[Clonotypes, tuple[np.ndarray, np.ndarray]]:
    """One clone per even cell; the vector of a clone holds its cell's number."""
    cells = len(cohort.cells)
    of_cell = np.where(np.arange(cells) % 2 == 0, np.arange(cells) // 2, -1).astype(np.int32)
    clones = int(of_cell.max()) + 1
    patient = cohort.samples["patient"].reindex(cohort.cells["sample"]).to_numpy()
    table = pd.DataFrame(
        {
            "patient": patient[::2],
            "n_cells": 1,
            "has_alpha": True,
            "has_beta": np.arange(clones) % 2 == 0,
            "v_a": None,
            "j_a": None,
            "cdr3_a": None,
            "v_b": "TRBV6-1*01",
            "j_b": "TRBJ1-1",
            "cdr3_b": "CASSPLANTEDF",
        }
    )
    vectors = np.tile(2.0 * np.arange(clones)[:, None] + 1, (1, RECEPTOR)).astype(np.float32)
    flags = np.zeros(cells, dtype=bool)
    return Clonotypes(table, of_cell, flags, flags, {}), (vectors, np.arange(clones) % 3 > 0)


def _build(
    cohort: Cohort, folder: Path, car: np.ndarray | None = None, **given: Any
) -> CohortStore:
    clonotypes, receptor = _clonotypes(cohort)
    arguments: dict[str, Any] = {
        "car_umi": np.zeros(len(cohort.cells), dtype=np.int64) if car is None else car,
        "clonotypes": clonotypes,
        "receptor": receptor,
        "pseudonyms": Pseudonyms(folder / "key"),
        "normalised": False,
    }
    return build_store(cohort, **{**arguments, **given})


@pytest.fixture
def cohort() -> Cohort:
    return _cohort()


@pytest.fixture
def store(cohort: Cohort, tmp_path: Path) -> CohortStore:
    return _build(cohort, tmp_path, car=np.arange(len(cohort.cells)) * 10)


def test_sorted_by_patient_and_sample(cohort: Cohort, store: CohortStore, tmp_path: Path) -> None:
    key = Pseudonyms(tmp_path / "key")
    expected = sorted((p, s) for s, p in SAMPLES.items() if SIZES[s])
    assert list(store.samples.index) == [key.sample(s) for _, s in expected]
    assert list(store.patients.index) == [key.patient(p) for p in ("Ann-31", "Bob-77")]
    assert list(store.samples["patient"]) == [0, 0, 1, 1]
    assert np.all(np.diff(store.cells["sample"]) >= 0)
    np.testing.assert_array_equal(
        store.cells["patient"], store.samples["patient"].to_numpy()[store.cells["sample"]]
    )
    for row, (_, sample) in enumerate(expected):
        own = store.sample_slice(row)
        assert own.stop - own.start == SIZES[sample]
        assert (store.cells["sample"].iloc[own] == row).all()
    assert store.samples["stop"].iloc[-1] == len(cohort.cells) == store.rna.shape[0]
    assert store.samples["start"].iloc[0] == 0


def test_each_cell_keeps_what_belongs_to_it(cohort: Cohort, store: CohortStore) -> None:
    source = store.cells["source"].to_numpy()
    assert sorted(source) == list(range(len(cohort.cells)))
    np.testing.assert_array_equal(store.rna.toarray(), cohort.rna.toarray()[source])
    assert store.protein is not None
    assert cohort.protein is not None
    np.testing.assert_array_equal(store.protein, cohort.protein[source])
    assert list(store.cells["cell_type"]) == list(cohort.cells["cell_type"].iloc[source])
    np.testing.assert_array_equal(store.cells["car_umi"], 10 * source)
    clone = store.cells["clone"].to_numpy()
    np.testing.assert_array_equal(clone, np.where(source % 2 == 0, source // 2, -1))
    assert store.receptor is not None
    assert store.clones is not None
    has = clone >= 0
    np.testing.assert_array_equal(store.receptor[clone[has], 0], source[has] + 1)
    # a clone belongs to the patient of its cells
    owner = store.clones["patient"].to_numpy()[clone[has]]
    np.testing.assert_array_equal(owner, store.cells["patient"].to_numpy()[has])
    assert "cdr3_b" not in store.clones  # sequences stay in the input files


def test_tables_stay_aligned(cohort: Cohort, store: CohortStore, tmp_path: Path) -> None:
    key = Pseudonyms(tmp_path / "key")
    patients, samples = store.patients, store.samples
    assert patients.loc[key.patient("Ann-31")].to_dict() == {"response": "PD", "age": 64}
    assert patients.loc[key.patient("Bob-77")].to_dict() == {"response": "CR", "age": 63}
    assert cohort.protein_measured is not None
    for row, sample in enumerate(SAMPLES):
        if SIZES[sample]:
            name = key.sample(sample)
            assert samples.loc[name, "batch"] == key.batch(f"lane-{row}")
            assert samples.loc[name, "day"] == row
            position = samples.index.get_loc(name)
            np.testing.assert_array_equal(
                store.protein_measured[position], cohort.protein_measured[row]
            )
    assert store.dropped == cohort.dropped


def test_quality_measures(cohort: Cohort, store: CohortStore) -> None:
    source = store.cells["source"].to_numpy()
    dense = cohort.rna.toarray()[source]
    np.testing.assert_allclose(store.cells["n_counts"], dense.sum(1))
    np.testing.assert_array_equal(store.cells["n_genes"], (dense > 0).sum(1))
    np.testing.assert_allclose(store.cells["pct_mito"], 100 * dense[:, 1] / dense.sum(1), rtol=1e-6)


def test_mitochondrial_genes_are_known_by_id(
    cohort: Cohort, store: CohortStore, tmp_path: Path
) -> None:
    names = cohort.genes.index.to_series().replace({cohort.genes.index[1]: "ENSG00000198804.2"})
    by_id = _build(replace(cohort, genes=cohort.genes.set_axis(list(names), axis=0)), tmp_path)
    assert store.cells["pct_mito"].max() > 0
    np.testing.assert_array_equal(by_id.cells["pct_mito"], store.cells["pct_mito"])


def test_stored_zeros_are_no_genes(cohort: Cohort, tmp_path: Path) -> None:
    """Some files store zeros explicitly."""
    explicit = cohort.rna.copy()
    explicit.data[:] = np.where(np.arange(explicit.nnz) % 4 == 0, 0, explicit.data)
    store = _build(replace(cohort, rna=explicit), tmp_path)
    np.testing.assert_array_equal(store.cells["n_genes"], (store.rna.toarray() > 0).sum(1))
    assert (store.rna.data > 0).all()
    assert np.diff(explicit.indptr).sum() == explicit.nnz  # the cohort is as it was


def test_the_input_is_not_changed(cohort: Cohort, tmp_path: Path) -> None:
    before = _cohort()
    _build(cohort, tmp_path)
    assert (cohort.rna != before.rna).nnz == 0
    pd.testing.assert_frame_equal(cohort.samples, before.samples)
    pd.testing.assert_frame_equal(cohort.patients, before.patients)
    pd.testing.assert_frame_equal(cohort.cells, before.cells)


def test_shuffled_inside_samples_whoever_else_is_there(
    cohort: Cohort, store: CohortStore, tmp_path: Path
) -> None:
    key = Pseudonyms(tmp_path / "key")
    kept = cohort.cells["sample"].isin(["quux", "last"]).to_numpy()
    assert cohort.protein is not None
    alone = _build(
        replace(
            cohort,
            rna=cohort.rna[np.flatnonzero(kept)],
            cells=cohort.cells[kept],
            protein=cohort.protein[kept],
        ),
        tmp_path,
    )
    assert list(alone.patients.index) == [key.patient("Ann-31")]
    assert store.protein is not None
    assert alone.protein is not None
    for name in alone.samples.index:
        here, there = (
            own.sample_slice(int(own.samples.index.get_loc(name))) for own in (alone, store)
        )
        np.testing.assert_array_equal(alone.rna[here].toarray(), store.rna[there].toarray())
        np.testing.assert_array_equal(alone.protein[here], store.protein[there])
    # shuffled indeed: the order of the file is a coincidence of 1 in 8! and the like
    assert any(
        not np.all(np.diff(store.cells["source"].to_numpy()[store.sample_slice(s)]) > 0)
        for s in range(len(store.samples))
    )


def test_no_id_of_the_input_is_written(store: CohortStore, tmp_path: Path) -> None:
    path = tmp_path / "cohort.zarr"
    write_store(store, path)
    planted = [
        b"Ann-31",
        b"Bob-77",
        b"Cid-55",
        b"nobody",
        b"lane-",
        b"zeta",
        b"quux",
        b"BARCODE",
        b"PLANTED",
    ]
    files = [file for file in path.rglob("*") if file.is_file()]
    assert len(files) > 20
    for file in files:
        content = file.read_bytes() + str(file.relative_to(path)).encode()
        assert not [word for word in planted if word in content], file.name
    # chunks are compressed: look into every array as well
    import zarr

    texts = []
    for _, array in _arrays(zarr.open_group(path, mode="r")):
        if array.dtype.kind not in "biuf":
            texts += [str(value) for value in np.asarray(array[...]).ravel()]
    assert any(text.startswith("P-") for text in texts)
    for word in planted:
        assert not [text for text in texts if word.decode() in text]


def _arrays(group: Any) -> list[tuple[str, Any]]:
    found = list(group.arrays())
    for _, inner in group.groups():
        found += _arrays(inner)
    return found


def test_without_protein_receptors_and_cell_types(cohort: Cohort, tmp_path: Path) -> None:
    bare = replace(
        cohort,
        protein=None,
        proteins=[],
        protein_measured=None,
        cells=cohort.cells.drop(columns="cell_type"),
    )
    store = _build(bare, tmp_path, clonotypes=None, receptor=None)
    assert store.protein is None
    assert store.receptor is None
    assert store.clones is None
    assert store.protein_measured.shape == (4, 0)
    assert (store.cells["clone"] == -1).all()
    assert not store.samples["has_receptor"].any()
    assert store.receptor_dim == 0


def test_normalised_values_stay(cohort: Cohort, tmp_path: Path) -> None:
    values = cohort.rna.copy()
    values.data = np.log1p(values.data) - 0.25
    store = _build(replace(cohort, rna=values), tmp_path, normalised=True)
    source = store.cells["source"].to_numpy()
    assert store.rna.dtype == np.float32
    assert store.normalised
    np.testing.assert_array_equal(store.rna.toarray(), values.toarray()[source])
    assert store.cells["pct_mito"].isna().all()


def test_receptors_are_marked_by_sample(cohort: Cohort, tmp_path: Path) -> None:
    clonotypes, receptor = _clonotypes(cohort)
    unsequenced = cohort.cells["sample"].isin(["mid"]).to_numpy()
    of_cell = np.where(unsequenced, -1, clonotypes.of_cell).astype(np.int32)
    store = _build(
        cohort, tmp_path, clonotypes=replace(clonotypes, of_cell=of_cell), receptor=receptor
    )
    key = Pseudonyms(tmp_path / "key")
    has = store.samples["has_receptor"]
    assert not has[key.sample("mid")]
    assert has.sum() == 3
    # sequenced, as the table says, and nothing found
    said = replace(cohort, samples=cohort.samples.assign(has_tcr=cohort.samples.index == "mid"))
    store = _build(
        said, tmp_path, clonotypes=replace(clonotypes, of_cell=of_cell), receptor=receptor
    )
    assert store.samples["has_receptor"].all()


@pytest.mark.parametrize("ids", [(3, 1, 2), (30, 4, 100)])
def test_numeric_patients(
    cohort: Cohort, tmp_path: Path, ids: tuple[int, int, int], make_numeric: Callable[..., Cohort]
) -> None:
    """A table of numbers gives integer ids: the covariates still meet their patients."""
    store = _build(make_numeric(cohort, ids), tmp_path)
    key = Pseudonyms(tmp_path / "key")
    for patient, age in zip(ids[1:], (63, 64), strict=True):
        assert store.patients.loc[key.patient(str(patient)), "age"] == age


@pytest.fixture
def make_numeric() -> Callable[..., Cohort]:
    def make(cohort: Cohort, ids: tuple[int, int, int]) -> Cohort:
        number = dict(zip(["Cid-55", "Bob-77", "Ann-31"], ids, strict=True))
        patients = cohort.patients.drop("nobody")
        patients.index = pd.Index([number[p] for p in patients.index])
        return replace(
            cohort,
            patients=patients,
            samples=cohort.samples.assign(patient=cohort.samples["patient"].map(number)),
        )

    return make
