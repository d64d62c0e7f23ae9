"""Clone ids that are given beside scirpy's sequences win over them, wherever they stand."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from recart.data.cohort import Cohort
from recart.data.readers import H5adReader, H5muReader
from recart.data.receptors.clonotypes import BCR, Clonotypes, call_clonotypes
from recart.problems import InputError

Ids = Mapping[str, Sequence[str | None]]

CELLS = [f"{letter * 8}-1" for letter in "ABCDEF"]
T_IDS: list[str | None] = ["t1", "t1", "t2", None, "t2", None]
B_IDS: list[str | None] = [None, None, None, None, None, "b1"]


def _obs(ids: Ids, cells: list[str] = CELLS) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(own, cells) for name, own in ids.items()}, index=cells)


def _rna(ids: Ids) -> ad.AnnData:
    obs = _obs({"patient": ["P"] * 6, **ids})
    return ad.AnnData(np.ones((6, 3), np.float32), obs, pd.DataFrame(index=list("XYZ")))


def _with_airr(data: ad.AnnData) -> ad.AnnData:
    """A TRB chain for each cell but the last two."""
    import awkward as ak

    chains = [
        [{"locus": "TRB", "v_call": "TRBV2", "j_call": "TRBJ1-1", "junction_aa": f"CAS{own}F"}]
        for own in "SSTV"
    ]
    data.obsm["airr"] = ak.Array([*chains, [], []])
    return data


def _h5ad(path: Path, ids: Ids, **columns: str) -> Cohort:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # awkward arrays are experimental in anndata
        _with_airr(_rna(ids)).write_h5ad(path / "cohort.h5ad")
    return H5adReader(str(path / "cohort.h5ad"), columns=columns).read()


def _h5mu(path: Path, ids: Ids, of_airr: Ids, cells: list[str] = CELLS, **columns: str) -> Cohort:
    import mudata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        airr = _with_airr(ad.AnnData(obs=_obs(of_airr, cells)))
        mudata.MuData({"rna": _rna(ids), "airr": airr}).write_h5mu(path / "cohort.h5mu")
    return H5muReader(str(path / "cohort.h5mu"), columns=columns).read()


def _right(cohort: Cohort) -> None:
    """Cells of one given T cell clone are in it, that of no given one in its own, B cells apart."""
    assert cohort.chains is not None
    assert cohort.chains["junction_aa"].notna().sum() == 4
    assert not cohort.chains.duplicated().any()
    patients = pd.Series("P", index=cohort.cells.index)
    t = call_clonotypes(cohort.chains, cohort.cells.index, patients).of_cell
    assert t[0] == t[1] != t[2] == t[4]
    assert t[3] >= 0 > t[5]
    of_b = cohort.chains[cohort.chains["locus"].isin(BCR.all_loci)].reset_index(drop=True)
    b = call_clonotypes(of_b, cohort.cells.index, patients, BCR)
    assert (b.of_cell >= 0).tolist() == [False] * 5 + [True]


def test_ids_of_obs_beside_airr(tmp_path: Path) -> None:
    _right(_h5ad(tmp_path, {"clone_id": T_IDS, "bcr_clone_id": B_IDS}))
    named: Ids = {"mine": T_IDS, "plasma": B_IDS, "clone_id": ["x"] * 6}
    _right(_h5ad(tmp_path, named, clone_id="mine", bcr_clone_id="plasma"))


def test_ids_of_the_rna_beside_the_airr_modality(tmp_path: Path) -> None:
    ids = {"clone_id": T_IDS, "bcr_clone_id": B_IDS}
    _right(_h5mu(tmp_path, ids, {}))
    named = {"mine": T_IDS, "plasma": B_IDS}
    given = {"clone_id": ["x"] * 6}  # another's numbering
    _right(_h5mu(tmp_path, named, given, clone_id="mine", bcr_clone_id="plasma"))


def test_ids_of_the_airr_modality(tmp_path: Path) -> None:
    ids = {"clone_id": T_IDS, "bcr_clone_id": B_IDS}
    _right(_h5mu(tmp_path, {}, ids))
    _right(_h5mu(tmp_path, {"bcr_clone_id": B_IDS}, {"clone_id": T_IDS}))
    bare = [cell.removesuffix("-1") for cell in CELLS]
    _right(_h5mu(tmp_path, {}, ids, cells=bare))
    mine = {"mine": T_IDS, "plasma": B_IDS}
    _right(_h5mu(tmp_path, {}, mine, cells=bare, clone_id="mine", bcr_clone_id="plasma"))


def test_ids_that_are_not_of_cells_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"patient": ["P"], "mine": ["t1"]}).to_csv(tmp_path / "patients.csv", index=False)
    _h5ad(tmp_path, {})
    columns = {"clone_id": "mine", "bcr_clone_id": "constant:b1"}
    reader = H5adReader(
        str(tmp_path / "cohort.h5ad"), columns=columns, patients=str(tmp_path / "patients.csv")
    )
    with pytest.raises(InputError) as error:
        reader.read()
    found = {(p.code, p.column) for p in error.value.problems}
    assert found == {("E-REC-002", "mine"), ("E-REC-002", "bcr_clone_id")}
    assert all("obs" in problem.mend for problem in error.value.problems)


def _numbered_anew(
    path: Path, single: int, double: int, called: str, **columns: str
) -> tuple[pd.DataFrame, Cohort]:
    """Patients of one and of two samples, whose ids of clones start anew in each sample."""
    import awkward as ak

    rng = Random(0)
    rows = []
    for p in range(single + double):
        for s in range(1 if p < single else 2):
            for k in range(20):
                sequence = "CAS" + "".join(rng.choice("STVLMNQGERD") for _ in range(9)) + "F"
                rows += [(f"P{p}", f"P{p}_{s}", f"clonotype{k + 1}", sequence)] * 2
    barcodes = ["".join("ACGT"[(i >> 2 * k) & 3] for k in range(10)) for i in range(len(rows))]
    table = pd.DataFrame(rows, barcodes, ["patient", "sample", called, "sequence"])
    data = ad.AnnData(
        np.ones((len(table), 3), np.float32),
        table.drop(columns="sequence"),
        pd.DataFrame(index=list("XYZ")),
    )
    airr = ak.Array(
        [
            [{"locus": "TRB", "v_call": "TRBV2", "j_call": "TRBJ1-1", "junction_aa": own}]
            for own in table["sequence"]
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.obsm["airr"] = airr
        data.write_h5ad(path / "cohort.h5ad")
    return table, H5adReader(str(path / "cohort.h5ad"), columns=columns).read()


def _called(cohort: Cohort) -> Clonotypes:
    assert cohort.chains is not None
    patients = cohort.samples["patient"].reindex(cohort.cells["sample"])
    samples = cohort.cells["sample"]
    return call_clonotypes(cohort.chains, cohort.cells.index, patients, samples=samples)


LAYOUTS = [(0, 8), (10, 6)]


@pytest.mark.parametrize(("single", "double"), LAYOUTS)
@pytest.mark.parametrize("alias", ["clonotype_id", "clonotype"])
def test_beside_sequences_the_aliases_are_no_given_ids(
    tmp_path: Path, single: int, double: int, alias: str
) -> None:
    """They are mostly Cell Ranger's, which would merge clones of one patient's samples."""
    table, cohort = _numbered_anew(tmp_path, single, double, alias)
    found = _called(cohort)
    clone = found.of_cell
    assert not found.table["given"].any()
    assert table.groupby(clone)[["sequence", "sample"]].nunique().eq(1).all(axis=None)
    assert len(found.table) == 20 * (single + 2 * double)


@pytest.mark.parametrize(("single", "double"), LAYOUTS)
def test_given_ids_that_start_anew_are_refused_however_few_patients_show_it(
    tmp_path: Path, single: int, double: int
) -> None:
    for called, columns in (("clone_id", {}), ("clonotype_id", {"clone_id": "clonotype_id"})):
        _, cohort = _numbered_anew(tmp_path, single, double, called, **columns)
        with pytest.raises(InputError, match=f"{20 * double} of {20 * double} clone ids"):
            _called(cohort)


def test_unique_ids_of_many_samples_are_taken(tmp_path: Path) -> None:
    table, cohort = _numbered_anew(tmp_path, 10, 6, "clonotype_id")
    assert cohort.chains is not None
    ids = (table["sample"] + table["clonotype_id"]).reindex(cohort.chains["cell"]).to_numpy()
    given = replace(cohort, chains=cohort.chains.assign(clone_id=ids))
    assert _called(given).table["given"].all()


def test_aliases_count_where_there_are_no_sequences(tmp_path: Path) -> None:
    data = _rna({"clonotype": T_IDS})
    data.write_h5ad(tmp_path / "cohort.h5ad")
    cohort = H5adReader(str(tmp_path / "cohort.h5ad")).read()
    assert cohort.chains is not None
    assert cohort.chains["clone_id"].tolist() == ["t1", "t1", "t2", "t2"]


def test_aliases_beside_the_airr_modality(tmp_path: Path) -> None:
    numbers = {"clonotype_id": ["x"] * 6}
    for of_rna, of_airr in ((numbers, {}), ({}, numbers)):
        cohort = _h5mu(tmp_path, of_rna, of_airr)
        assert cohort.chains is not None
        assert cohort.chains["clone_id"].isna().all()
