"""Clone ids that are given beside scirpy's sequences win over them, wherever they stand."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from recart.data.cohort import Cohort
from recart.data.readers import H5adReader, H5muReader
from recart.data.receptors.clonotypes import BCR, call_clonotypes
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
