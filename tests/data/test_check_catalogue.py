"""Bad content, one fault a case: refused by code, naming file, sample, column or feature, count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recart.data.checks import CODES, Limits, check_cohort
from recart.data.cohort import CHAIN_COLUMNS, Cohort
from recart.problems import InputError, Problem

LIMITS: Final = Limits(min_median_umi=5, min_cells=5)
N_PATIENTS, PER_SAMPLE, N_GENES = 12, 10, 40


def make() -> Cohort:
    """Twelve patients (six R, six NR) of one sample of ten cells: RNA, three proteins, chains."""
    rng = np.random.default_rng(3)
    n = N_PATIENTS * PER_SAMPLE
    samples = [f"S{i}" for i in range(N_PATIENTS)]
    patients = [f"P{i}" for i in range(N_PATIENTS)]
    owner = np.repeat(samples, PER_SAMPLE)
    barcodes = ["".join(rng.choice(list("ACGT"), 16)) for _ in range(n)]
    cells = pd.DataFrame({"sample": owner, "barcode": barcodes})
    cells.index = pd.Index([f"{s}:{b}" for s, b in zip(owner, barcodes, strict=True)])
    junctions = ["CASSLGQAYEQYF", "CASSPGTEAFF"] * (n // 2)
    chains = pd.DataFrame({"cell": cells.index, "locus": "TRB", "junction_aa": junctions})
    return Cohort(
        rna=sparse.csr_matrix(rng.poisson(2.0, (n, N_GENES)).astype(np.float32)),
        genes=pd.DataFrame(index=[f"GENE{i}" for i in range(N_GENES)]),
        cells=cells,
        samples=pd.DataFrame({"patient": patients, "batch": "b1"}, index=samples),
        patients=pd.DataFrame({"response": ["R", "NR"] * 6}, index=patients),
        protein=rng.poisson(20.0, (n, 3)).astype(np.float32),
        proteins=["CD3", "CD4", "CD8"],
        protein_measured=np.ones((N_PATIENTS, 3), dtype=np.bool_),
        chains=chains.reindex(columns=list(CHAIN_COLUMNS)),
        source={"rna": "rna.h5ad", "protein": "prot.h5ad", "chains": "tcr.csv"},
    )


def check(cohort: Cohort, normalised: bool = False, exclude: tuple[str, ...] = ()) -> list[Problem]:
    found = check_cohort(
        cohort, endpoint="response", normalised=normalised, exclude=exclude, limits=LIMITS
    )
    return found.warnings


def errors(cohort: Cohort, normalised: bool = False) -> list[Problem]:
    with pytest.raises(InputError) as error:
        check(cohort, normalised)
    for problem in error.value.problems:
        assert problem.code in CODES
        assert problem.mend
        assert problem.file or problem.column
        assert str(problem) in str(error.value)
    return list(error.value.problems)


def rna_entry(cohort: Cohort, row: int, value: float) -> None:
    """Overwrite the first stored value of a cell."""
    cohort.rna.data[cohort.rna.indptr[row]] = value


def transform(cohort: Cohort, function: Callable[[np.ndarray], np.ndarray], start: int = 0) -> None:
    at = cohort.rna.indptr[start]
    cohort.rna.data[at:] = function(cohort.rna.data[at:])


def b01(c: Cohort) -> None:
    rna_entry(c, 25, -1)


def b02(c: Cohort) -> None:
    rna_entry(c, 25, 1.5)


def b03(c: Cohort) -> None:
    transform(c, np.log1p)


def b04(c: Cohort) -> None:
    transform(c, np.log1p, start=110)


def b05(c: Cohort) -> None:
    transform(c, lambda x: x - 2.5)


def b06(c: Cohort) -> None:
    rna_entry(c, 25, np.nan)


def b07(c: Cohort) -> None:
    rna_entry(c, 25, np.inf)


def b08(c: Cohort) -> None:
    rna_entry(c, 25, 2e7)


def b09(c: Cohort) -> None:
    dense = c.rna.toarray()
    dense[20:23] = 0
    c.rna = sparse.csr_matrix(dense)


def b12(c: Cohort) -> None:
    c.cells.index = c.cells.index[[*range(25), 24, *range(26, len(c.cells))]]


def b13(c: Cohort) -> None:
    dense = c.rna.toarray()
    dense[30:34] = dense[20:24]
    c.rna = sparse.csr_matrix(dense)
    c.cells["barcode"] = [
        *c.cells["barcode"][:30],
        *c.cells["barcode"][20:24],
        *c.cells["barcode"][34:],
    ]


def genes(*names: str) -> Callable[[Cohort], None]:
    def rename(c: Cohort) -> None:
        c.genes.index = pd.Index([*names, *c.genes.index[len(names) :]])

    return rename


def mouse_ids(c: Cohort) -> None:
    c.genes.index = [f"ENSMUSG{i:011d}.2" for i in range(N_GENES)]


def mouse(c: Cohort) -> None:
    c.genes.index = pd.Index([f"Cd{i}e" for i in range(N_GENES)])


def protein(row: int, value: float) -> Callable[[Cohort], None]:
    def overwrite(c: Cohort) -> None:
        assert c.protein is not None
        c.protein[row, 1] = value

    return overwrite


def dsb(c: Cohort) -> None:
    assert c.protein is not None
    c.protein[:, 1] = c.protein[:, 1] / 7 - 2


def lognorm_protein(c: Cohort) -> None:
    assert c.protein is not None
    c.protein[:, 1] = np.log1p(c.protein[:, 1])


def proteins(*names: str) -> Callable[[Cohort], None]:
    return lambda c: setattr(c, "proteins", list(names))


def nucleotides(c: Cohort) -> None:
    assert c.chains is not None
    c.chains["junction_aa"] = "TGTGCCAGCAGC"


def labels(*values: object) -> Callable[[Cohort], None]:
    return lambda c: c.patients.__setitem__("response", list(values))


def per_sample(c: Cohort) -> None:
    """Two samples of P0 that disagree; the endpoint stands in the sample table."""
    c.samples["response"] = ["R", "NR"] * 6
    c.samples["patient"] = ["P0", "P0", *c.samples["patient"][2:]]
    c.patients = pd.DataFrame(index=c.patients.index.drop("P1"))


def renamed(c: Cohort) -> None:
    c.patients = c.patients.rename(columns={"response": "responce"})


def half_a_batch(c: Cohort) -> None:
    c.samples["batch"] = [None, *["b1"] * 11]


def poor(c: Cohort) -> None:
    c.rna = sparse.csr_matrix((c.rna > 5).astype(np.float32))


CASES: Final = {
    "B01-negative": (b01, "E-RNA-001", "sample=S2", "min -1"),
    "B02-one-fraction": (b02, "E-RNA-002", "sample=S2", "fractional"),
    "B03-log1p": (b03, "E-RNA-003", "and 7 more", "looks like log1p"),
    "B04-one-sample-log1p": (b04, "E-RNA-003", "sample=S11", "looks like log1p"),
    "B05-scaled": (b05, "E-RNA-001", "feature=GENE", "looks scaled"),
    "B06-nan": (b06, "E-RNA-004", "sample=S2", "NaN"),
    "B07-inf": (b07, "E-RNA-005", "sample=S2", "infinite"),
    "B08-too-large": (b08, "E-RNA-006", "sample=S2", "2e+07"),
    "B09-empty-cells": (b09, "E-LIB-002", "sample=S2 count=3", "30%"),
    "B12-barcode-twice": (b12, "E-ID-001", "sample=S2 column=barcode count=1", "several times"),
    "B13-two-patients": (b13, "E-ID-004", "sample=S2 column=barcode count=4", "P2 and P3"),
    "B14-genes-twice": (genes("CD4", "CD4"), "E-GENE-001", "feature=CD4 count=1", "several"),
    "B14-no-name": (genes("", "nan"), "E-GENE-002", "count=2", "without a name"),
    "B17-mouse": (mouse, "E-GENE-005", "feature=Cd0e", "mouse"),
    "B17-mouse-ids": (mouse_ids, "E-GENE-005", "feature=ENSMUSG", "another species"),
    "B18-dates": (genes("1-Mar", "Sep-02"), "E-GENE-003", "count=2", "MARCHF1, SEPTIN2"),
    "B22-nan-protein": (protein(25, np.nan), "E-PROT-003", "sample=S2 feature=CD4 count=1", "NaN"),
    "B22-inf-protein": (protein(25, np.inf), "E-PROT-004", "sample=S2 feature=CD4", "infinite"),
    "B23-dsb": (dsb, "E-PROT-001", "feature=CD4", "CLR or dsb"),
    "B23-lognorm": (lognorm_protein, "E-PROT-002", "feature=CD4", "normalised"),
    "B23-huge": (protein(25, 1e9), "E-PROT-005", "sample=S2 feature=CD4 count=1", "too large"),
    "B27-twice": (proteins("CD3", "CD3", "CD8"), "E-PROT-006", "feature=CD3", "several"),
    "B27-no-name": (proteins("CD3", "nan", "CD8"), "E-PROT-007", "feature=column 1", "name"),
    "B35-nucleotides": (nucleotides, "E-REC-001", "column=junction_aa count=120", "nucleotides"),
    "B44-conflict": (per_sample, "E-LAB-002", "column=response count=2", "S0=R, S1=NR"),
    "B46-mixed": (labels(*["CR", "cr ", "PR", "1"] * 3), "E-LAB-005", "count=12", "'CR' (3)"),
    "B47-NE": (labels(*["R", "NR", "NE"] * 4), "E-LAB-005", "count=4", "no class for 'NE'"),
    "B48-one-class": (labels(*["R"] * 12), "E-LAB-003", "column=response", "0 negative"),
    "B48-few": (labels(*["NR"] * 3, *["R"] * 9), "E-LAB-004", "count=3", "at least 5"),
    "endpoint-missing": (renamed, "E-LAB-001", "column=response", "nearest: responce"),
    "B51-batch-missing": (half_a_batch, "E-SMP-005", "sample=S0 column=batch", "S0"),
    "no-library-left": (poor, "E-LIB-003", "count=12", "all 12 samples"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(case: str) -> None:
    spoil, code, where, says = CASES[case]
    cohort = make()
    spoil(cohort)
    (problem,) = [problem for problem in errors(cohort) if problem.code == code]
    assert where in str(problem)
    assert says in str(problem)


@pytest.mark.parametrize("case", [case for case in CASES if case not in {"no-library-left"}])
def test_one_fault_is_one_problem(case: str) -> None:
    cohort = make()
    CASES[case][0](cohort)
    assert len(errors(cohort)) == 1


def test_valid_cohort_passes_without_a_word() -> None:
    assert check(make()) == []


def test_all_faults_at_once_are_all_listed() -> None:
    cohort = make()
    together = ("B01-negative", "B14-genes-twice", "B22-nan-protein", "B51-batch-missing")
    for case in (*together, "B35-nucleotides", "B48-one-class"):
        CASES[case][0](cohort)
    found = {problem.code for problem in errors(cohort)}
    assert found == {CASES[c][1] for c in (*together, "B35-nucleotides", "B48-one-class")}


def test_large_count_is_a_warning() -> None:
    cohort = make()
    rna_entry(cohort, 25, 2e5)
    (warning,) = check(cohort)
    assert (warning.code, warning.sample, warning.count) == ("W-RNA-006", "S2", 1)


@pytest.mark.parametrize(("prefixed", "told"), [(False, [1]), (True, [])])
def test_clone_ids_that_start_anew_in_each_sample_are_told(prefixed: bool, told: list[int]) -> None:
    cohort = make()
    samples = cohort.samples.replace({"patient": {"P1": "P0"}})
    number = np.tile(np.arange(PER_SAMPLE), N_PATIENTS).astype(str)
    sample = cohort.cells["sample"].to_numpy(dtype=object) if prefixed else "clonotype"
    chains = pd.DataFrame({"cell": cohort.cells.index, "clone_id": sample + number})
    lone = replace(
        cohort,
        samples=samples,
        patients=cohort.patients.drop("P1"),
        chains=chains.reindex(columns=list(CHAIN_COLUMNS)),
    )
    found = check(lone)
    assert [(p.code, p.count) for p in found] == [("W-REC-012", count) for count in told]


def test_samples_without_a_clone_are_told_where_others_have_some() -> None:
    cohort = make()
    first = cohort.cells.index[cohort.cells["sample"] == cohort.cells["sample"].iloc[0]]
    chains = pd.DataFrame({"cell": first, "locus": "TRA", "junction_aa": "CAVRDSNYQLIW"})
    lone = replace(cohort, chains=chains.reindex(columns=list(CHAIN_COLUMNS)))
    samples = len(cohort.samples)
    assert [(p.code, p.column, p.count) for p in check(lone)] == [
        ("W-REC-013", "has_tcr", samples - 1)
    ]
    said = replace(lone, samples=lone.samples.assign(has_tcr="no"))
    assert check(said) == []


def test_normalised_values() -> None:
    cohort = make()
    assert [p.code for p in errors(cohort, normalised=True)] == ["E-RNA-007"]
    transform(cohort, np.log1p)
    assert check(cohort, normalised=True) == []
    rna_entry(cohort, 25, np.nan)
    assert [(p.code, p.sample) for p in errors(cohort, normalised=True)] == [("E-RNA-004", "S2")]


def test_new_patients_need_no_endpoint() -> None:
    cohort = make()
    cohort.patients = pd.DataFrame(index=cohort.patients.index)
    assert check_cohort(cohort, endpoint=None, limits=LIMITS).warnings == []


def test_missing_labels_and_excluded_values_pass() -> None:
    """B45, B47."""
    cohort = make()
    cohort.patients["response"] = ["R"] * 5 + ["NR"] * 5 + [np.nan, "NE"]
    assert check(cohort, exclude=("NE",)) == []


def test_two_tables_that_disagree_on_the_endpoint() -> None:
    cohort = make()
    own = cohort.samples["patient"].map(cohort.patients["response"])
    said = own.where(own.index != "S2")
    cohort = replace(cohort, samples=cohort.samples.assign(response=said))
    assert check(cohort) == []
    said["S3"], said["S5"] = "R", "R"
    cohort = replace(cohort, samples=cohort.samples.assign(response=said))
    (problem,) = errors(cohort)
    assert (problem.code, problem.sample, problem.count) == ("E-LAB-002", "S3", 2)


def test_unmeasured_protein_may_hold_anything() -> None:
    cohort = make()
    assert cohort.protein is not None
    assert cohort.protein_measured is not None
    cohort.protein[20:30, 1] = 0
    (warning,) = check(cohort)
    assert (warning.code, warning.sample, warning.feature) == ("W-PROT-008", "S2", "CD4")
    cohort.protein_measured[2, 1] = False
    assert check(cohort) == []


def test_one_antibody_under_two_names() -> None:
    cohort = make()
    assert cohort.protein_measured is not None
    cohort.proteins = ["CD4_TotalSeqB", "CD4", "CD8"]
    assert check(cohort) == []  # two clones of one panel
    cohort.protein_measured[:6, 0] = False
    cohort.protein_measured[6:, 1] = False
    (warning,) = check(cohort)
    assert (warning.code, warning.examples) == ("W-PROT-009", ("CD4_TotalSeqB / CD4",))
    cohort.proteins = ["CD45", "CD45RA", "CD8"]
    assert check(cohort) == []


def test_same_barcode_with_other_counts_is_no_mix_up() -> None:
    cohort = make()
    barcodes = cohort.cells["barcode"].to_numpy().copy()
    barcodes[30:34] = barcodes[20:24]
    assert check(replace(cohort, cells=cohort.cells.assign(barcode=barcodes))) == []
