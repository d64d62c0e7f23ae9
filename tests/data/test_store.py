"""A store on disk: whole or not there, the same when read, AnnData to others."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recart.data.store import CohortStore, open_store, write_store
from recart.problems import InputError

MakeStore = Callable[..., CohortStore]


def _same(one: CohortStore, other: CohortStore, dtypes: bool = True) -> None:
    assert one.rna.dtype == other.rna.dtype
    np.testing.assert_array_equal(one.rna.indptr, other.rna.indptr)
    np.testing.assert_array_equal(one.rna.indices, other.rna.indices)
    np.testing.assert_array_equal(one.rna.data, other.rna.data)
    for name in ("genes", "proteins", "normalised", "dropped", "receptor_dim"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("protein", "protein_measured", "receptor"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), name
        if a is not None:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
    for name in ("cells", "samples", "patients", "clones"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), name
        if a is not None:
            # text comes back as categories
            a, b = (t.astype({c: object for c in t if not _plain(t[c])}) for t in (a, b))
            pd.testing.assert_frame_equal(
                a,
                b,
                check_dtype=dtypes,
                check_names=False,
                check_index_type=False,
                check_column_type=False,
            )


def _plain(column: pd.Series) -> bool:
    return column.dtype.kind in "biuf"


def test_round_trip_is_exact(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(patients=3)
    store = replace(
        store,
        cells=store.cells.assign(
            cell_type=pd.Categorical(["T", "B"] * len(store.cells))[: len(store.cells)]
        ),
        patients=store.patients.assign(
            age=[60, 61, 62], ldh=[1.5, np.nan, 2.5], female=[True, False, True]
        ),
        dropped={"cells below 200 counts": 3},
    )
    write_store(store, tmp_path / "a.zarr")
    read = open_store(tmp_path / "a.zarr")
    _same(read, store)
    write_store(read, tmp_path / "b.zarr")
    again = open_store(tmp_path / "b.zarr")
    _same(again, read)
    assert again.samples.dtypes.equals(read.samples.dtypes)
    assert list(tmp_path.iterdir())
    assert {p.name for p in tmp_path.iterdir()} == {"a.zarr", "b.zarr"}


@pytest.mark.parametrize("absent", ["protein", "receptor", "clones", "all"])
def test_round_trip_without_a_modality(make_store: MakeStore, tmp_path: Path, absent: str) -> None:
    store = make_store(patients=2)
    samples = len(store.samples)
    if absent in ("protein", "all"):
        store = replace(
            store, protein=None, proteins=(), protein_measured=np.zeros((samples, 0), bool)
        )
    if absent in ("receptor", "all"):
        store = replace(store, receptor=None)
    if absent in ("clones", "all"):
        store = replace(store, receptor=None, clones=None)
    write_store(store, tmp_path / "a.zarr")
    _same(open_store(tmp_path / "a.zarr"), store)


@pytest.mark.parametrize("clones", [0, 5])
def test_clone_ids_without_an_embedding(make_store: MakeStore, tmp_path: Path, clones: int) -> None:
    """An embedding of dimension 0, as of cohorts that publish clone ids without sequences."""
    store = make_store(patients=2)
    assert store.clones is not None
    table = store.clones.iloc[:clones].reset_index(drop=True)
    cells = store.cells.assign(
        clone=np.where(store.cells["clone"] < clones, store.cells["clone"], -1)
    )
    store = replace(store, cells=cells, clones=table, receptor=np.zeros((clones, 0), np.float32))
    write_store(store, tmp_path / "a.zarr")
    _same(open_store(tmp_path / "a.zarr"), store)


def test_missing_text_stays_missing(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(patients=3)
    store = replace(
        store,
        patients=store.patients.assign(response=["R", None, "NR"], grade=[1, "high", np.nan]),
        samples=store.samples.assign(tissue=[None] * len(store.samples)),
    )
    write_store(store, tmp_path / "a.zarr")
    read = open_store(tmp_path / "a.zarr")
    assert list(read.patients["response"].isna()) == [False, True, False]
    assert list(read.patients["grade"].isna()) == [False, False, True]
    assert read.patients["grade"].iloc[0] == "1"
    assert read.samples["tissue"].isna().all()


def test_columns_and_reasons_with_a_slash(make_store: MakeStore, tmp_path: Path) -> None:
    """Clinical tables hold names such as "CAR+/uL"."""
    store = make_store(patients=2)
    store = replace(
        store,
        patients=store.patients.assign(**{"CAR+ cells/uL": [3.5, 4.5]}),
        dropped={"receptor chains: IGK/IGL": 4},
    )
    write_store(store, tmp_path / "a.zarr")
    read = open_store(tmp_path / "a.zarr")
    assert list(read.patients["CAR+ cells/uL"]) == [3.5, 4.5]
    assert read.dropped == {"receptor chains: IGK/IGL": 4}


def test_other_tools_open_it(make_store: MakeStore, tmp_path: Path) -> None:
    import anndata

    store = make_store(patients=2)
    write_store(store, tmp_path / "a.zarr")
    adata = anndata.read_zarr(tmp_path / "a.zarr")
    np.testing.assert_array_equal(adata.X.toarray(), store.rna.toarray())
    assert list(adata.var_names) == list(store.genes)
    assert set(adata.obs["patient"]) == set(store.patients.index)
    np.testing.assert_array_equal(adata.obsm["protein"], store.protein)


@pytest.mark.parametrize("stage", ["replace", "write"])
def test_a_crash_leaves_the_old_store_whole(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    import anndata

    path = tmp_path / "a.zarr"
    old = make_store(patients=2, seed=1)
    write_store(old, path)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    def fail_to_place(source: Any, target: Any) -> None:
        """Fails as the new store is put in place, and only then."""
        if Path(target) == path and ".part" in Path(source).name:
            raise OSError("no space left on device")
        rename(source, target)

    rename = os.rename
    with monkeypatch.context() as patch:
        if stage == "replace":
            patch.setattr("recart.data.store.os.replace", fail_to_place)
        else:
            patch.setattr(anndata.AnnData, "write_zarr", fail)
        with pytest.raises(OSError, match="no space"):
            write_store(make_store(patients=3, seed=2), path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]
    _same(open_store(path), old)
    write_store(make_store(patients=3, seed=2), path)
    assert len(open_store(path).patients) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_what_is_no_store(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="E-STORE-001"):
        open_store(tmp_path / "none.zarr")
    with monkeypatch.context() as patch:
        patch.setattr("recart.data.store.SCHEMA", 99)
        write_store(make_store(patients=2), tmp_path / "future.zarr")
    with pytest.raises(InputError, match=r"E-STORE-002.*99"):
        open_store(tmp_path / "future.zarr")
