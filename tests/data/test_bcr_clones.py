"""B cell clones: from chains to a column of their own, with sequences or with ids alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recart.data.checks import Limits, filter_cohort
from recart.data.cohort import Cohort
from recart.data.part_of_store import without_patients
from recart.data.prepare import Endpoint, Preparation, to_store
from recart.data.pseudonyms import Pseudonyms
from recart.data.readers.chains import obs_chains
from recart.data.readers.columns import Columns
from recart.data.receptors.none import NoReceptor
from recart.data.simulate import SimulatedCohort
from recart.data.store import CohortStore, open_store, write_store
from recart.problems import InputError


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return SimulatedCohort(patients=3, cells_per_sample=60, genes=200, seed=3).read()


def stored(cohort: Cohort, folder: Path) -> CohortStore:
    preparation = Preparation(
        reader=SimulatedCohort(patients=2),
        endpoint=Endpoint(column=None, positive=None, negative=None, exclude=[], unit="patient"),
        car_genes=[],
        normalised=False,
        limits=Limits(),
        receptors=NoReceptor(),
        folder=folder,
        in_memory=True,
        reread=False,
    )
    return to_store(cohort, preparation, Pseudonyms(folder / "key"))


def test_heavy_and_light_chains_name_clones_of_b_cells(cohort: Cohort, tmp_path: Path) -> None:
    assert cohort.chains is not None
    store = stored(cohort, tmp_path)
    bcr = store.cells["bcr_clone"].to_numpy()
    chains = cohort.chains
    with_bcr = set(chains["cell"][chains["locus"].isin(["IGH", "IGK", "IGL"])])
    of_cell = cohort.cells.index.to_numpy()[store.cells["source"].to_numpy()]
    np.testing.assert_array_equal(bcr >= 0, [cell in with_bcr for cell in of_cell])
    assert not ((store.cells["clone"] >= 0) & (bcr >= 0)).any()
    # one clone: the same V genes and junctions, in one patient
    heavy = chains[chains["locus"] == "IGH"].set_index("cell")["junction_aa"]
    junction = pd.Series(of_cell).map(heavy)
    known = (bcr >= 0) & junction.notna().to_numpy()
    assert (junction[known].groupby(bcr[known]).nunique() == 1).all()
    assert (store.cells["patient"][bcr >= 0].groupby(bcr[bcr >= 0]).nunique() == 1).all()
    assert "receptor chains: locus not of a TCR" not in store.dropped


def test_t_cell_clones_are_what_they_were_without_b_cells(cohort: Cohort, tmp_path: Path) -> None:
    assert cohort.chains is not None
    of_t = cohort.chains[cohort.chains["locus"].isin(["TRA", "TRB"])].reset_index(drop=True)
    without = stored(replace(cohort, chains=of_t), tmp_path)
    assert (without.cells["bcr_clone"] == -1).all()
    both = stored(cohort, tmp_path)
    np.testing.assert_array_equal(both.cells["clone"], without.cells["clone"])


def test_b_cells_alone(cohort: Cohort, tmp_path: Path) -> None:
    assert cohort.chains is not None
    of_b = cohort.chains[cohort.chains["locus"].isin(["IGH", "IGK"])].reset_index(drop=True)
    store = stored(replace(cohort, chains=of_b), tmp_path)
    assert (store.cells["clone"] == -1).all()
    assert not store.samples["has_receptor"].any()
    assert (store.cells["bcr_clone"] >= 0).sum() == of_b["cell"].nunique()


def test_ids_without_sequences(cohort: Cohort, tmp_path: Path) -> None:
    ids = pd.Series(np.nan, index=cohort.cells.index, dtype=object)
    ids.iloc[:4] = ["plasma1", "plasma1", "plasma2", "none"]
    t_ids = pd.Series(np.nan, index=cohort.cells.index, dtype=object)
    t_ids.iloc[4:6] = "t1"
    chains, used = obs_chains(pd.DataFrame({"bcr_clone_id": ids, "clone_id": t_ids}))
    assert set(used) == {"bcr_clone_id", "clone_id"}
    kept = filter_cohort(replace(cohort, chains=chains), limits=Limits(min_cells=1))
    store = stored(kept, tmp_path)
    own = pd.Series(store.cells["bcr_clone"].to_numpy())
    own.index = kept.cells.index[store.cells["source"].to_numpy()]
    first = own[cohort.cells.index[:6]]
    assert first.iloc[0] == first.iloc[1] >= 0
    assert first.iloc[2] >= 0
    assert first.iloc[2] != first.iloc[0]
    assert (first.iloc[3:] == -1).all()
    assert (own >= 0).sum() == 3
    assert (store.cells["clone"] >= 0).sum() == 2


def test_the_column_of_b_cell_ids_can_have_any_name() -> None:
    ids = ["b1", "b2", "b1"]
    obs = pd.DataFrame({"lineage": ids, "bcr_clone_id": ["x", "y", "z"]}, index=["a", "b", "c"])
    chains, used = obs_chains(Columns(bcr_clone_id="lineage").rename(obs))
    assert used == ["bcr_clone_id"]
    assert chains is not None
    assert chains["clone_id"].tolist() == ids
    usual, _ = obs_chains(Columns().rename(obs.drop(columns="bcr_clone_id")))
    assert usual is None


def test_ids_of_b_cells_go_to_their_own_chains() -> None:
    obs = pd.DataFrame(
        {
            "TRB_cdr3": ["CASSF", None, None],
            "IGH_cdr3": [None, "CARDYW", "CARDYW"],
            "bcr_clone_id": [None, "b1", "b2"],
        },
        index=["t", "b", "c"],
    )
    chains, _ = obs_chains(obs)
    assert chains is not None
    of = chains.set_index("cell")
    assert of.loc["t", "clone_id"] is np.nan or pd.isna(of.loc["t", "clone_id"])
    assert set(of.loc["b", "clone_id"]) == {"b1"}  # the sequence's row and the id's own
    assert set(of.loc["c", "clone_id"]) == {"b2"}


def test_stores_keep_them_and_those_of_before_are_refused(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stored(cohort, tmp_path)
    write_store(store, tmp_path / "a.zarr")
    again = open_store(tmp_path / "a.zarr")
    np.testing.assert_array_equal(again.cells["bcr_clone"], store.cells["bcr_clone"])
    monkeypatch.setattr("recart.data.store.SCHEMA", 1)
    write_store(store, tmp_path / "old.zarr")
    monkeypatch.undo()
    with pytest.raises(InputError, match="E-STORE-002"):
        open_store(tmp_path / "old.zarr")


def test_without_a_patient_the_numbers_close_their_gaps(cohort: Cohort, tmp_path: Path) -> None:
    store = stored(cohort, tmp_path)
    part = without_patients(store, [0])
    kept = store.cells["bcr_clone"].to_numpy()[store.cells["patient"].to_numpy() != 0]
    own = part.cells["bcr_clone"].to_numpy()
    assert set(own[own >= 0]) == set(range(len(set(kept[kept >= 0]))))
    np.testing.assert_array_equal(own < 0, kept < 0)
    pairs = {(int(a), int(b)) for a, b in zip(kept, own, strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_words_for_no_clone_are_no_clone() -> None:
    obs = pd.DataFrame(
        {
            "clone_id": ["7", "No_contig", "unassigned", "-1", "nan", None],
            "bcr_clone_id": ["-1", "No_contig", "b2", "Unassigned", "b2", None],
        },
        index=[f"c{i}" for i in range(6)],
    )
    chains, _ = obs_chains(obs)
    assert chains is not None
    of_t_cells = chains["locus"].isna()
    assert chains["clone_id"][of_t_cells].tolist() == ["7"]
    assert chains["cell"][~of_t_cells].tolist() == ["c2", "c4"]
