"""Bad tables, columns and ids: each is refused by code, naming where and how to mend it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest

from recart.data.checks import check_cohort
from recart.data.readers import Columns, H5adReader, H5muReader, Reader
from recart.problems import InputError, Problem

BARCODES = [f"{'ACGT'[i % 4] * 8}{'ACGT'[i // 4] * 8}-1" for i in range(12)]


def adata(**columns: object) -> ad.AnnData:
    """Twelve cells: S1 and S2 of P1, S3 of P2."""
    obs = pd.DataFrame(
        {"sample": ["S1"] * 4 + ["S2"] * 4 + ["S3"] * 4, "patient": ["P1"] * 8 + ["P2"] * 4},
        index=[f"cell{i}" for i in range(12)],
    ).assign(**columns)
    counts = np.arange(60, dtype=np.float32).reshape(12, 5)
    return ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=list("ABCDE")))


def write(path: Path, data: ad.AnnData) -> str:
    data.write_h5ad(path / "cohort.h5ad")
    return str(path / "cohort.h5ad")


def errors(read: Callable[[], object]) -> list[Problem]:
    with pytest.raises(InputError) as error:
        read()
    assert all(p.what and p.mend for p in error.value.problems)
    return list(error.value.problems)


def refused(data: ad.AnnData, path: Path, **arguments: object) -> list[Problem]:
    return errors(H5adReader(write(path, data), **arguments).read)


def test_b44_sample_of_two_patients(tmp_path: Path) -> None:
    data = adata(patient=["P1"] * 7 + ["P2"] * 5)
    (problem,) = refused(data, tmp_path)
    assert (problem.code, problem.sample, problem.column) == ("E-SMP-001", "S2", "patient")
    assert "P1, P2" in problem.what


def test_two_problems_at_once_are_both_listed(tmp_path: Path) -> None:
    data = adata(tissue=["PB"] * 3 + ["BM"] * 9, day=["1"] * 8 + ["soon"] * 4)
    found = refused(data, tmp_path, columns={"batch": "lane"})
    assert {(p.code, p.column) for p in found} == {
        ("E-SMP-002", "tissue"),
        ("E-COL-004", "day"),
        ("E-COL-001", "lane"),
    }
    assert all(p.file for p in found)
    assert next(p for p in found if p.code == "E-SMP-002").sample == "S1"


def test_no_sample_and_no_patient_column(tmp_path: Path) -> None:
    data = adata()
    data.obs = data.obs.rename(columns={"sample": "lane", "patient": "who"})
    (problem,) = refused(data, tmp_path)
    assert problem.code == "E-COL-002"
    assert "lane, who" in problem.what
    (problem,) = refused(data, tmp_path, columns={"sample": "lane"})
    assert (problem.code, problem.column) == ("E-COL-003", "patient")


def test_constant_patient_and_patient_as_sample(tmp_path: Path) -> None:
    path = write(tmp_path, adata())
    columns = {"sample": "sample", "patient": "constant:Donor 1"}
    cohort = H5adReader(path, columns=columns).read()
    assert list(cohort.patients.index) == ["Donor 1"]
    assert list(cohort.samples.index) == ["S1", "S2", "S3"]
    data = adata()
    del data.obs["sample"]
    cohort = H5adReader(write(tmp_path, data)).read()
    assert list(cohort.samples.index) == ["P1", "P2"]


def test_role_takes_a_column_that_another_role_is_called(tmp_path: Path) -> None:
    path = write(tmp_path, adata(library=["a", "b", "c"] * 4))
    cohort = H5adReader(path, columns={"sample": "patient", "patient": "constant:x"}).read()
    assert list(cohort.samples.index) == ["P1", "P2"]


def test_unknown_role_names_the_nearest() -> None:
    (problem,) = errors(lambda: Columns.of({"tisue": "organ"}))
    assert problem.code == "E-COL-001"
    assert "nearest: tissue" in problem.mend


@pytest.mark.parametrize(
    ("patients", "column"),
    [
        pytest.param(["P1"] * 8 + ["p1"] * 4, "patient", id="B59-case"),
        pytest.param(["P1"] * 8 + ["\u0420" + "1"] * 4, "patient", id="B59-cyrillic"),
        pytest.param(["001"] * 8 + ["1"] * 4, "patient", id="B59-zeros"),
    ],
)
def test_two_spellings_of_an_id(patients: list[str], column: str, tmp_path: Path) -> None:
    (problem,) = refused(adata(patient=patients), tmp_path)
    assert (problem.code, problem.column) == ("E-ID-002", column)


def test_ids_stay_text(tmp_path: Path) -> None:
    """B59: leading zeros, `NA` and `1E5` are names."""
    path = write(tmp_path, adata(sample=["001"] * 4 + ["1E5"] * 4 + ["NA"] * 4))
    table = "sample,patient,batch\r\n001,P1,07\r\n1E5,P1,07\r\nNA,P2,08\r\n"
    (tmp_path / "samples.csv").write_bytes(b"\xef\xbb\xbf" + table.encode())
    cohort = H5adReader(path, samples=str(tmp_path / "samples.csv")).read()
    assert list(cohort.samples.index) == ["001", "1E5", "NA"]
    assert list(cohort.samples["batch"]) == ["07", "07", "08"]


def test_missing_patient_id(tmp_path: Path) -> None:
    (problem,) = refused(adata(patient=["P1"] * 8 + [None] * 4), tmp_path)
    assert (problem.code, problem.column, problem.count) == ("E-ID-003", "patient", 4)


TABLE = "sample,patient,day\nS1,P1,1\nS2,P1,2\nS3,P2,3\n"


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        pytest.param(TABLE.encode("utf-16"), "E-CSV-001", "UTF-16", id="B58-utf16"),
        pytest.param(b"sample\nS\xfc1\n", "E-CSV-001", "0xfc in line 2", id="B58-latin1"),
        pytest.param(TABLE.replace(",", ";").encode(), "E-CSV-002", "semicolons", id="B58-semi"),
        pytest.param(
            b'sample,day\nS1,"1,5"\nS2,"2,5"\n', "E-CSV-003", "1,5", id="B58-decimal-comma"
        ),
        pytest.param(b"sample,day\nS1\n", "E-CSV-004", "rows 2", id="ragged"),
        pytest.param(b"", "E-CSV-004", "no rows", id="empty"),
        pytest.param(b"sample,day\n", "E-CSV-004", "header only", id="header-only"),
        pytest.param(b"sample,day,day\nS1,1,1\n", "E-CSV-005", "twice", id="column-twice"),
        pytest.param(b"probe,day\nS1,1\n", "E-COL-001", "no sample column", id="no-id"),
        pytest.param(TABLE.encode() + b"S1,P1,1\n", "E-SMP-004", "S1", id="B57-row-twice"),
        pytest.param(TABLE.encode() + b"s1,P1,1\n", "E-ID-002", "'S1' and 's1'", id="B59-table"),
        pytest.param(b"sample,patient\nS1,P1\nS2,P1\n", "E-SMP-003", "lacks", id="sample-lacks"),
        pytest.param(TABLE.replace("S2,P1", "S2,P2").encode(), "E-SMP-001", "P1, P2", id="differ"),
    ],
)
def test_bad_sample_table(content: bytes, code: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_bytes(content)
    found = refused(adata(), tmp_path, samples=str(tmp_path / "samples.csv"))
    assert code in [p.code for p in found]
    problem = next(p for p in found if p.code == code)
    assert problem.file.endswith(".csv") or code in {"E-SMP-001", "E-SMP-003"}
    assert says in problem.what


def test_patient_table_lacks_a_patient(tmp_path: Path) -> None:
    (tmp_path / "patients.csv").write_text("patient,response\nP1,R\n")
    (problem,) = refused(adata(), tmp_path, patients=str(tmp_path / "patients.csv"))
    assert problem.code == "E-SMP-006"
    assert "P2" in problem.what


def test_b65_matrices_disagree(tmp_path: Path) -> None:
    data = adata()
    data.layers["counts"] = data.X.copy()
    data.X = np.log1p(data.X)
    (problem,) = refused(data, tmp_path)
    assert problem.code == "E-RNA-008"
    assert "X: looks like log1p" in problem.what
    assert "counts: counts (max 59)" in problem.what
    assert problem.mend.endswith("data.reader.layer=counts")
    (problem,) = refused(data, tmp_path, layer="count")
    assert "nearest: counts" in problem.mend


def test_b27_proteins_without_names(tmp_path: Path) -> None:
    data = adata()
    data.obsm["adt"] = np.ones((12, 3))
    (problem,) = refused(data, tmp_path)
    assert (problem.code, problem.column, problem.count) == ("E-PROT-007", "adt", 3)
    (problem,) = refused(data, tmp_path, protein="protien")
    assert problem.code == "E-COL-001"


def test_hashtags_in_obsm_are_no_surface_proteins(tmp_path: Path) -> None:
    data = adata()
    hashtags = ["HTO_1", "anti-human Hashtag 2", "TotalSeqC_HTO3", "Hash4"]
    names = ["CD3", *hashtags, "CD4"]
    protein = pd.DataFrame(1.0, index=data.obs_names, columns=names)
    data.obsm["protein"] = protein.assign(CD4=2.0)
    cohort = H5adReader(write(tmp_path, data)).read()
    assert cohort.proteins == ["CD3", "CD4"]
    assert cohort.protein is not None
    np.testing.assert_array_equal(cohort.protein, [[1, 2]] * 12)
    assert cohort.dropped == {"features that are neither RNA nor surface protein": 4}


@pytest.mark.parametrize("kind", ["h5ad", "h5mu"])
def test_what_is_nan_in_a_whole_sample_was_not_measured_there(kind: str, tmp_path: Path) -> None:
    """As `anndata.concat(join="outer")` leaves it."""
    data = adata()
    counts = np.ones((12, 2), dtype=np.float32)
    counts[:4], counts[5, 1] = np.nan, np.nan  # all of S1, a cell of S2
    protein = pd.DataFrame(counts, index=data.obs_names, columns=["CD3", "CD4"])
    reader: Reader
    if kind == "h5ad":
        data.obsm["protein"] = protein
        reader = H5adReader(write(tmp_path, data))
    else:
        with h5py.File(tmp_path / "m.h5mu", "w") as file:
            for name, modality in (("rna", data), ("prot", ad.AnnData(protein))):
                ad.io.write_elem(file, f"mod/{name}", modality)
        reader = H5muReader(str(tmp_path / "m.h5mu"))
    cohort = reader.read()
    assert cohort.protein is not None
    assert cohort.protein_measured is not None
    np.testing.assert_array_equal(cohort.protein_measured, [[False] * 2, [True] * 2, [True] * 2])
    assert (cohort.protein[:4] == 0).all()
    with pytest.raises(InputError) as error:
        check_cohort(cohort, endpoint=None)
    (problem,) = [p for p in error.value.problems if p.code.startswith("E-PROT")]
    assert (problem.code, problem.sample, problem.feature) == ("E-PROT-003", "S2", "CD4")
    assert problem.count == 1


def test_b11_matrix_of_strings(tmp_path: Path) -> None:
    data = adata()
    data.layers["words"] = data.X.astype(str).astype(object)
    (problem,) = refused(data, tmp_path, layer="words")
    assert problem.code == "E-RNA-009"


def test_b11_proteins_without_numbers(tmp_path: Path) -> None:
    data = adata()
    data.obsm["protein"] = pd.DataFrame(
        {"CD3": 1.0, "hash_id": "HTO1", "CD4": pd.array([1] * 12, dtype="Int64")},
        index=data.obs_names,
    )
    (problem,) = refused(data, tmp_path)
    assert (problem.code, problem.column, problem.count) == ("E-PROT-007", "hash_id", 1)
    data.obsm["protein"] = data.obsm["protein"].drop(columns="hash_id")
    cohort = H5adReader(write(tmp_path, data)).read()
    assert cohort.protein is not None
    assert cohort.protein.tolist() == [[1, 1]] * 12


def test_half_precision_is_read_as_far_as_it_is_exact(tmp_path: Path) -> None:
    data = adata()
    data.X = np.asarray(data.X, dtype=np.float16)
    cohort = H5adReader(write(tmp_path, data)).read()
    np.testing.assert_array_equal(cohort.rna.toarray(), data.X)
    data.X[3, 2] = 2050
    (problem,) = refused(data, tmp_path)
    assert problem.code == "E-RNA-009"
    assert "float16" in problem.what


def test_no_matrix_or_none_of_a_usual_name(tmp_path: Path) -> None:
    data = adata()
    counts = data.X
    data.X = None
    (problem,) = refused(data, tmp_path)
    assert (problem.code, problem.feature) == ("E-FILE-005", "/X")
    data.layers["mine"] = counts
    (problem,) = refused(data, tmp_path)
    assert problem.code == "E-RNA-008"
    assert problem.mend.endswith("data.reader.layer=mine")


def test_layers_of_proteins_are_named_by_their_own_setting(tmp_path: Path) -> None:
    cells = [f"cell{i}" for i in range(12)]
    reader = h5mu(tmp_path, cells, cells)
    with h5py.File(tmp_path / "m.h5mu", "r+") as file:
        ad.io.write_elem(file, "mod/prot/layers/counts", file["mod/prot/X"][...])
        file["mod/prot/X"][...] = np.log1p(file["mod/prot/X"][...])
    (problem,) = errors(reader.read)
    assert (problem.code, problem.feature) == ("E-RNA-008", "/mod/prot/X")
    assert problem.mend.endswith("data.reader.protein_layer=counts")
    assert H5muReader(reader.path, protein_layer="counts").read().protein is not None


def test_receptors_of_no_cell_are_no_receptors(tmp_path: Path) -> None:
    import awkward as ak

    data = adata()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # awkward arrays are experimental in anndata
        data.obsm["airr"] = ak.Array([[] for _ in range(12)])
        path = write(tmp_path, data)
    chains = H5adReader(path).read().chains
    assert chains is not None
    assert not len(chains)


def test_b14_duplicate_genes_are_added_or_kept(tmp_path: Path) -> None:
    data = adata()
    data.var_names = pd.Index(list("ABCDA"))
    path = write(tmp_path, data)
    cohort = H5adReader(path, duplicate_genes="sum").read()
    np.testing.assert_array_equal(cohort.rna.toarray()[0], [4, 1, 2, 3])
    assert cohort.dropped == {"genes with a shared symbol (added up)": 1}
    cohort = H5adReader(path, duplicate_genes="first").read()
    np.testing.assert_array_equal(cohort.rna.toarray()[0], [0, 1, 2, 3])
    assert list(cohort.genes.index) == list("ABCD")
    assert errors(H5adReader(path, duplicate_genes="ensembl").read)[0].code == "E-GENE-001"


def test_b12_barcodes_repeat_across_samples(tmp_path: Path) -> None:
    data = adata()
    data.obs_names = pd.Index([f"bc{i % 4}" for i in range(12)])
    cohort = H5adReader(write(tmp_path, data)).read()
    assert cohort.cells.index[5] == "S2:bc1"
    assert cohort.cells.index.is_unique


@pytest.mark.parametrize("place", ["obs", "obsm"])
def test_receptors_of_repeated_barcodes_stay_with_their_cells(place: str, tmp_path: Path) -> None:
    data = adata()
    cdr3 = np.array([f"CASS{'ACDEFGHIKLMN'[i]}EQYF" if i % 3 else None for i in range(12)])
    data.obs_names = pd.Index([f"bc{i % 4}" for i in range(12)])
    if place == "obs":
        data.obs["TRB_cdr3"] = cdr3
        path = write(tmp_path, data)
    else:
        import awkward as ak

        chains = [[{"locus": "TRB", "junction_aa": own}] if own else [] for own in cdr3]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # awkward arrays are experimental in anndata
            data.obsm["airr"] = ak.Array(chains)
            path = write(tmp_path, data)
    cohort = H5adReader(path).read()
    assert cohort.chains is not None
    found = cohort.chains.set_index("cell")["junction_aa"].reindex(cohort.cells.index)
    assert [None if pd.isna(own) else own for own in found] == list(cdr3)


def test_repeated_barcodes_join_no_modalities(tmp_path: Path) -> None:
    names = [f"bc{i % 6}" for i in range(12)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's note on names that repeat
        reader = h5mu(tmp_path, names, names)
    found = errors(reader.read)
    assert [(p.code, p.feature, p.count) for p in found] == [
        ("E-ID-001", "rna", 6),
        ("E-ID-001", "prot", 6),
    ]


def h5mu(tmp_path: Path, rna: list[str], prot: list[str]) -> H5muReader:
    with h5py.File(tmp_path / "m.h5mu", "w") as file:
        for name, cells in (("rna", rna), ("prot", prot)):
            data = ad.AnnData(
                np.ones((len(cells), 3), dtype=np.float32),
                obs=pd.DataFrame({"sample": "S1", "patient": "P1"}, index=cells),
                var=pd.DataFrame(index=["A", "B", "C"]),
            )
            ad.io.write_elem(file, f"mod/{name}", data)
    return H5muReader(str(tmp_path / "m.h5mu"))


def test_b29_modalities_of_other_cells(tmp_path: Path) -> None:
    reader = h5mu(tmp_path, BARCODES, [f"x{barcode}" for barcode in BARCODES])
    problem = errors(reader.read)[0]
    assert (problem.code, problem.feature, problem.count) == ("E-MOD-001", "protein", 12)
    assert BARCODES[0] in problem.what
    assert f"x{BARCODES[0]}" in problem.what


def test_protein_of_half_a_sample(tmp_path: Path) -> None:
    (problem,) = errors(h5mu(tmp_path, BARCODES, BARCODES[:6]).read)
    assert (problem.code, problem.sample, problem.count) == ("E-MOD-001", "S1", 6)
    cohort = h5mu(tmp_path, BARCODES, BARCODES[:10]).read()
    assert cohort.rna.shape[0] == 10
    assert cohort.dropped == {"cells without protein in a sample with protein": 2}


def test_no_rna_modality(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5mu", "w") as file:
        file.create_group("mod/atac")
    (problem,) = errors(H5muReader(str(tmp_path / "m.h5mu")).read)
    assert (problem.code, problem.feature) == ("E-FILE-005", "/mod/rna")
