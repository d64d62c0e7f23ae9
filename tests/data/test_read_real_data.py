"""Real cohorts read and checked; found through `RECART_REAL_DATA`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recart.data.checks import check_cohort, filter_cohort
from recart.data.readers import CellRangerReader, H5adReader
from recart.data.readers.contigs import contig_chains, read_contigs
from recart.problems import InputError, Problems

FOLDER = os.environ.get("RECART_REAL_DATA")
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(FOLDER is None, reason="RECART_REAL_DATA is not set"),
]
DATA = Path(FOLDER or ".")


def test_carpall_merged() -> None:
    cohort = H5adReader(str(DATA / "carpall_cart/carpall_merged_3k_genes.h5ad")).read()
    assert cohort.rna.shape == (20_599, 2_924)
    assert (len(cohort.patients), len(cohort.samples)) == (9, 34)
    assert set(cohort.samples["tissue"]) == {"PB", "BM", "PROD"}
    assert cohort.genes["ensembl"].str.startswith("ENSG").mean() > 0.99
    assert cohort.chains is not None
    assert cohort.chains["locus"].value_counts().to_dict() == {"TRB": 7_540, "TRA": 5_969}
    assert cohort.chains["cell"].isin(cohort.cells.index).all()
    # no sequence stays among the cells' own columns
    assert not [c for c in cohort.cells.columns if c.startswith("TR")]
    found = check_cohort(
        *(cohort,),
        endpoint="tissue",
        positive=["BM"],
        negative=["PB"],
        exclude=["PROD"],
        unit="sample",
    )
    assert {w.code for w in found.warnings} == {"W-LIB-001"}


def test_carpall_cell_ranger_outputs(tmp_path: Path) -> None:
    folder = DATA / "carpall_cart"
    known = pd.read_csv(folder / "sample_metadata.csv").set_index("GEX_Sample")
    names = [path.stem for path in sorted((folder / "gex_h5").glob("*.h5"))]
    sheet = pd.DataFrame({"sample": names})
    sheet["patient"] = known.loc[names, "Patient"].to_numpy()
    sheet["tissue"] = known.loc[names, "Source"].to_numpy()
    sheet["gex"] = [str(folder / "gex_h5" / f"{name}.h5") for name in names]
    sheet["vdj"] = str(folder / "tcr_contigs.parquet")
    sheet.to_csv(tmp_path / "sheet.csv", index=False)
    cohort = CellRangerReader(str(tmp_path / "sheet.csv")).read()
    assert cohort.rna.shape == (8_880, 36_592)
    assert "CAT_scFv" in cohort.genes.index
    assert cohort.dropped["genes with a shared symbol (added up)"] == 10
    warnings = check_cohort(cohort, endpoint=None).warnings
    assert {w.code for w in warnings} == {"W-LIB-001"}
    failed = {w.sample: w.what for w in warnings if w.code == "W-LIB-001"}
    assert set(failed) == {"CAR-T10484033", "CAR-T10593347"}
    assert "median 24 UMI in 3059 cells" in failed["CAR-T10484033"]
    assert "median 2 UMI in 5055 cells" in failed["CAR-T10593347"]
    kept = filter_cohort(cohort)
    assert kept.rna.shape[0] == 133 + 120 + 338 + 175
    assert kept.chains is not None
    assert kept.chains["locus"].isin(["TRA", "TRB"]).all()


def test_pbmc10k_of_one_donor() -> None:
    path = str(DATA / "citeseq_pbmc/pbmc10k_citeseq_rna4000_adt14.h5ad")
    columns = {"sample": "dataset", "patient": "constant:donor"}
    cohort = H5adReader(path, columns=columns).read()
    assert cohort.protein is not None
    assert cohort.protein.shape == (6_855, 14)
    assert list(cohort.samples.index) == ["pbmc10k"]
    assert list(cohort.patients.index) == ["donor"]
    assert check_cohort(cohort, endpoint=None).warnings == []
    with pytest.raises(InputError, match="E-COL-002"):
        H5adReader(path).read()


def test_clr_protein_is_refused_as_counts() -> None:
    columns = {"sample": "batch", "patient": "constant:donor"}
    path = str(DATA / "citeseq_pbmc/gse100866_cd8_citeseq_1774cells.h5ad")
    cohort = H5adReader(path, columns=columns, protein="protein_clr").read()
    with pytest.raises(InputError) as error:
        check_cohort(cohort, endpoint=None)
    problems = error.value.problems
    assert {p.code for p in problems} == {"E-PROT-001"}
    assert {p.feature for p in problems} == set(cohort.proteins)
    assert all("CLR or dsb" in p.what for p in problems)


def test_melanoma_lognorm_needs_normalised() -> None:
    cohort = H5adReader(str(DATA / "melanoma_icb/cells_8000x450_lognorm.h5ad")).read()
    assert (len(cohort.patients), len(cohort.samples)) == (32, 48)
    with pytest.raises(InputError) as error:
        check_cohort(cohort, endpoint="response", unit="sample")
    (problem,) = error.value.problems
    assert problem.code == "E-RNA-003"
    assert "in 48 samples" in problem.what
    warnings = check_cohort(cohort, endpoint="response", unit="sample", normalised=True).warnings
    assert {w.sample for w in warnings} == {"Post_P21", "Pre_P29"}
    # four patients have samples of both classes
    with pytest.raises(InputError) as error:
        check_cohort(cohort, endpoint="response", normalised=True)
    assert [p.code for p in error.value.problems] == ["E-LAB-002"] * 4


def test_contigs_of_blood_and_lung() -> None:
    path = DATA / "tcr_10x_blood_lung/contigs.parquet"
    problems, dropped = Problems(), {}
    contigs = read_contigs(path, problems)
    assert contigs is not None
    mine = contigs["sample"] == "P17B"
    barcodes = pd.Index(contigs["barcode"][mine].unique())
    chains = contig_chains(
        contigs,
        barcodes,
        "P17B:" + barcodes,
        file=str(path),
        sample="P17B",
        problems=problems,
        dropped=dropped,
    )
    assert problems.errors == []
    assert dropped == {}
    assert len(chains) == mine.sum() == 5_504
    assert chains["umis"].dtype == np.float64
    assert chains["umis"].notna().all()
    assert chains["clone_id"].isna().all()
    assert chains["cell"].str.startswith("P17B:").all()
