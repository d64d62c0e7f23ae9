"""Bad sample sheets and Cell Ranger outputs that do not fit together."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recart.data.readers import CellRangerReader
from recart.data.readers.columns import Columns
from recart.problems import InputError, Problem

BARCODES = [f"{'ACGT'[i % 4] * 8}{'ACGT'[i // 4] * 8}-1" for i in range(12)]


def errors(read: Callable[[], object]) -> list[Problem]:
    with pytest.raises(InputError) as error:
        read()
    assert all(p.what and p.mend and p.file for p in error.value.problems)
    return list(error.value.problems)


def gex(path: Path, seed: int, genes: list[str], barcodes: list[str] = BARCODES) -> None:
    counts = np.random.default_rng(seed).poisson(1.0, (len(genes), len(barcodes)))
    csc = sparse.csc_matrix(counts.astype(np.int32))
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array(barcodes, dtype="S")
        group["data"], group["indices"], group["indptr"] = csc.data, csc.indices, csc.indptr
        group["shape"] = np.array(csc.shape, dtype=np.int32)
        for name in ("id", "name"):
            group[f"features/{name}"] = np.array(genes, dtype="S")
        group["features/feature_type"] = np.array(["Gene Expression"] * len(genes), dtype="S")
        group["features/genome"] = np.array(["GRCh38"] * len(genes), dtype="S")


def sheet(tmp_path: Path, *rows: str, header: str = "sample,patient,gex,vdj") -> CellRangerReader:
    (tmp_path / "sheet.csv").write_text("\n".join([header, *rows]) + "\n")
    return CellRangerReader(str(tmp_path / "sheet.csv"))


def contigs(path: Path, barcodes: list[str]) -> None:
    frame = pd.DataFrame({"barcode": barcodes, "chain": "TRB", "v_gene": "TRBV5-1"})
    frame.assign(j_gene="TRBJ1-1", cdr3="CASSF").to_csv(path, index=False)


def test_a_file_of_contigs_says_that_the_sample_was_sequenced(tmp_path: Path) -> None:
    header = "sample,patient,gex,vdj_t,vdj_b"
    for number, name in enumerate("ab"):
        gex(tmp_path / f"{name}.h5", number, list("ABC"))
        contigs(tmp_path / f"{name}.csv", BARCODES[: 6 * (number + 1)])
    cohort = sheet(tmp_path, "S1,P1,a.h5,a.csv,", "S2,P2,b.h5,,b.csv", header=header).read()
    assert cohort.samples["has_tcr"].notna().tolist() == [True, False]
    assert cohort.samples["has_bcr"].notna().tolist() == [False, True]


def test_a_column_of_the_sheet_holds_no_clone_ids(tmp_path: Path) -> None:
    gex(tmp_path / "a.h5", 0, list("ABC"))
    sheet(tmp_path, "S1,P1,a.h5,clone7", header="sample,patient,gex,clone")
    reader = CellRangerReader(str(tmp_path / "sheet.csv"), columns=Columns(clone_id="clone"))
    (problem,) = errors(reader.read)
    assert (problem.code, problem.column) == ("E-REC-002", "clone")


def test_b57_missing_file_and_same_file_twice(tmp_path: Path) -> None:
    gex(tmp_path / "a.h5", 0, list("ABC"))
    (tmp_path / "copy.h5").write_bytes((tmp_path / "a.h5").read_bytes())
    rows = ("S1,P1,a.h5,", "S2,P2,copy.h5,", "S3,P3,gone.h5,", "S4,P4,,")
    found = errors(sheet(tmp_path, *rows).read)
    assert {(p.code, p.sample) for p in found} == {
        ("E-SHEET-003", "S1"),
        ("E-SHEET-002", "S3"),
        ("E-SHEET-002", "S4"),
    }
    assert "S1, S2" in next(p.what for p in found if p.code == "E-SHEET-003")


def test_b57_duplicate_row_and_missing_column(tmp_path: Path) -> None:
    gex(tmp_path / "a.h5", 0, list("ABC"))
    found = errors(sheet(tmp_path, "S1,P1,a.h5,", "S1,P1,a.h5,").read)
    assert "E-SMP-004" in {p.code for p in found}
    (problem,) = errors(sheet(tmp_path, "S1,P1,a.h5", header="sample,patient,file").read)
    assert (problem.code, problem.column) == ("E-SHEET-001", "gex")
    (problem,) = errors(CellRangerReader(str(tmp_path)).read)
    assert problem.code == "E-SHEET-001"


def test_b40_suffix_of_contig_barcodes(tmp_path: Path) -> None:
    gex(tmp_path / "a.h5", 0, list("ABC"))
    contigs(tmp_path / "t.csv", [barcode.removesuffix("-1") for barcode in BARCODES[:11]])
    cohort = sheet(tmp_path, "S1,P1,a.h5,t.csv").read()
    assert cohort.chains is not None
    assert list(cohort.chains["cell"]) == [f"S1:{barcode}" for barcode in BARCODES[:11]]
    contigs(tmp_path / "t.csv", [f"lib_{barcode}" for barcode in BARCODES])
    (problem,) = errors(sheet(tmp_path, "S1,P1,a.h5,t.csv").read)
    assert (problem.code, problem.sample, problem.feature) == ("E-MOD-001", "S1", "receptor")
    assert BARCODES[0] in problem.what
    assert "lib_" in problem.what


def test_packed_contigs_and_those_of_no_cell_are_read(tmp_path: Path) -> None:
    """A library without a B cell has a header only."""
    for number, name in enumerate("abc"):
        gex(tmp_path / f"{name}.h5", number, list("ABC"))
    contigs(tmp_path / "a.csv", BARCODES)
    packed = gzip.compress((tmp_path / "a.csv").read_bytes())
    (tmp_path / "a.csv.gz").write_bytes(packed)
    (tmp_path / "b").mkdir()
    contigs(tmp_path / "b" / "filtered_contig_annotations.csv.gz", BARCODES[:5])
    contigs(tmp_path / "none.csv", [])
    rows = "S1,P1,a.h5,a.csv.gz,none.csv", "S2,P2,b.h5,b,", "S3,P3,c.h5,NA,none.csv"
    cohort = sheet(tmp_path, *rows, header="sample,patient,gex,vdj_t,vdj_b").read()
    assert cohort.chains is not None
    owner = cohort.chains["cell"].str.split(":").str[0]
    assert owner.value_counts().to_dict() == {"S1": 12, "S2": 5}
    assert cohort.samples["has_tcr"].notna().tolist() == [True, True, False]
    assert cohort.samples["has_bcr"].notna().tolist() == [True, False, True]
    (tmp_path / "a.csv.gz").write_bytes(packed[:-9])
    (problem,) = errors(sheet(tmp_path, "S1,P1,a.h5,a.csv.gz").read)
    assert (problem.code, problem.file) == ("E-FILE-003", str(tmp_path / "a.csv.gz"))


def test_a_matrix_is_no_sheet(tmp_path: Path) -> None:
    gex(tmp_path / "a.h5", 1, list("ABC"))
    (problem,) = errors(CellRangerReader(str(tmp_path / "a.h5")).read)
    assert problem.code == "E-FILE-004"
    assert "sample sheet" in problem.mend


def test_contigs_of_other_samples_are_told(tmp_path: Path) -> None:
    gex(tmp_path / "a.h5", 1, list("ABC"))
    contigs(tmp_path / "a.csv", BARCODES)
    pd.read_csv(tmp_path / "a.csv").assign(sample="lib1").to_csv(tmp_path / "a.csv", index=False)
    (problem,) = errors(sheet(tmp_path, "S1,P1,a.h5,a.csv").read)
    assert (problem.code, problem.sample, problem.count) == ("E-REC-002", "S1", 12)
    assert "lib1" in problem.what


def test_contigs_lack_columns(tmp_path: Path) -> None:
    gex(tmp_path / "a.h5", 0, list("ABC"))
    (tmp_path / "t.csv").write_text("barcode,chain\nA,TRB\n")
    (problem,) = errors(sheet(tmp_path, "S1,P1,a.h5,t.csv").read)
    assert (problem.code, problem.column) == ("E-REC-002", "v_gene")


def test_b66_references_differ(tmp_path: Path) -> None:
    gex(tmp_path / "a.h5", 0, [f"G{i}" for i in range(20)])
    gex(tmp_path / "b.h5", 1, [f"G{i}" for i in range(19)] + ["CAR"])
    cohort = sheet(tmp_path, "S1,P1,a.h5,", "S2,P2,b.h5,").read()
    assert list(cohort.genes.index) == [f"G{i}" for i in range(19)]
    assert cohort.dropped == {"genes that some samples lack": 2}
    gex(tmp_path / "b.h5", 1, [f"G{i}" for i in range(10)])
    (problem,) = errors(sheet(tmp_path, "S1,P1,a.h5,", "S2,P2,b.h5,").read)
    assert (problem.code, problem.sample, problem.count) == ("E-GENE-004", "S1", 10)
