"""What is left out by rule, how it is counted, and that the scan misses nothing and is fast."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import recart.data
from recart.data.checks import CODES, Limits, check_cohort, filter_cohort
from recart.data.checks.names import is_isotype
from recart.data.checks.receptors import chain_faults
from recart.data.checks.survey import survey
from recart.data.cohort import CHAIN_COLUMNS, Cohort

LIMITS = Limits(min_median_umi=50, min_cells=20)


def cohort() -> Cohort:
    """Four samples of three patients: good, poor (median 2 UMI), tiny (5 cells), good."""
    rng = np.random.default_rng(0)
    sizes, means = {"good": 40, "poor": 40, "tiny": 5, "fine": 40}, [5.0, 0.1, 5.0, 5.0]
    owner = np.repeat(list(sizes), list(sizes.values()))
    rates = np.repeat(means, list(sizes.values()))
    rna = rng.poisson(np.repeat(rates[:, None], 20, axis=1)).astype(np.float32)
    rna[[0, 1]] = 0
    ids = pd.Index([f"c{i}" for i in range(len(owner))])
    chains = pd.DataFrame(
        [
            ("c2", "TRB", "CASSLGF", True),
            ("c3", "TRB", "CASS*GF", True),
            ("c4", "TRB", "CASSLGF", False),
            ("c5", "TRG", "CASSLGF", True),
            ("c6", "TRB", "ASSLGF", True),
            ("c7", "IGH", "casslgy", True),
            ("c45", "TRB", "CASSLGF", True),
        ],
        columns=["cell", "locus", "junction_aa", "productive"],
    )
    return Cohort(
        rna=sparse.csr_matrix(rna),
        genes=pd.DataFrame(index=[f"GENE{i}" for i in range(20)]),
        cells=pd.DataFrame({"sample": owner}, index=ids),
        samples=pd.DataFrame({"patient": ["A", "B", "B", "C"]}, index=list(sizes)),
        patients=pd.DataFrame(index=list("ABC")),
        protein=rng.poisson(9, (len(owner), 2)).astype(np.float32),
        proteins=["CD3", "Mouse IgG1 isotype"],
        protein_measured=np.ones((4, 2), dtype=np.bool_),
        chains=chains.reindex(columns=list(CHAIN_COLUMNS)),
        dropped={"before": 1},
    )


def test_failed_libraries_are_named_with_their_values() -> None:
    warnings = check_cohort(cohort(), endpoint=None, limits=LIMITS).warnings
    failed = {w.sample: w for w in warnings if w.code == "W-LIB-001"}
    assert set(failed) == {"poor", "tiny"}
    poor = filter(None, cohort().rna[40:80].sum(axis=1).A1)
    assert f"median {np.median(list(poor)):g} UMI" in failed["poor"].what
    assert "in 5 cells" in failed["tiny"].what


def test_filter_leaves_out_and_counts() -> None:
    kept = filter_cohort(cohort(), limits=LIMITS)
    assert kept.dropped == {
        "before": 1,
        "failed libraries": 2,
        "cells of failed libraries": 45,
        "cells without RNA counts": 2,
        "patients without a usable sample": 1,
        "chains of cells that were left out": 1,
        "chains: gamma-delta or unassigned locus": 1,
        "chains: not productive": 1,
        "chains: stop codon or frameshift in junction": 1,
        "chains: junction without C at its start or F/W at its end": 1,
        "isotype controls": 1,
    }
    assert list(kept.samples.index) == ["good", "fine"]
    assert list(kept.patients.index) == ["A", "C"]
    assert kept.rna.shape == (78, 20)
    assert kept.protein is not None
    assert kept.protein_measured is not None
    assert kept.protein.shape == (78, 1)
    assert kept.protein_measured.shape == (2, 1)
    np.testing.assert_array_equal(
        kept.protein[:, 0], cohort().protein[[*range(2, 40), *range(85, 125)], 0]
    )
    assert kept.chains is not None
    assert list(kept.chains["cell"]) == ["c2", "c7"]
    assert list(kept.chains["junction_aa"]) == ["CASSLGF", "CASSLGY"]


def test_normalised_samples_are_not_judged_by_umi() -> None:
    kept = filter_cohort(cohort(), normalised=True, limits=LIMITS)
    assert list(kept.samples.index) == ["good", "poor", "fine"]


def test_filter_is_idempotent() -> None:
    once = filter_cohort(cohort(), limits=LIMITS)
    twice = filter_cohort(once, limits=LIMITS)
    assert twice.dropped == once.dropped
    assert (twice.rna != once.rna).nnz == 0


def test_filter_keeps_a_good_cohort_as_it_is() -> None:
    good = filter_cohort(cohort(), limits=LIMITS)
    good.dropped = {}
    kept = filter_cohort(good, limits=LIMITS)
    assert kept.dropped == {}
    pd.testing.assert_frame_equal(kept.cells, good.cells)


def test_a_chain_has_one_fault() -> None:
    chains = cohort().chains
    assert chains is not None
    assert np.sum(list(chain_faults(chains).values()), axis=0).tolist() == [0, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("name", ["IgG1", "Mouse-IgG2a", "isotype_G0114F7", "IgG2b-Ctrl"])
def test_isotype_controls(name: str) -> None:
    assert is_isotype(name)


@pytest.mark.parametrize("name", ["IgD", "IgM", "CD16", "IgG-Fc", "FITC", "TIGIT", "IgGFc"])
def test_markers_are_no_isotype_controls(name: str) -> None:
    assert not is_isotype(name)


@given(st.integers(0, 299_999), st.sampled_from([-1.0, 0.5, np.nan, np.inf]))
def test_scan_finds_one_bad_value_anywhere(at: int, value: float) -> None:
    values = np.ones(300_000, dtype=np.float32)
    values[at] = value
    found = survey(values)
    assert not found.counts
    assert found.n == 300_000
    assert found.negative + found.fractional + found.nan + found.inf == 1


def test_scan_of_no_values() -> None:
    assert survey(np.zeros(0, dtype=np.float32)).counts


def test_every_code_in_use_has_a_meaning_and_the_other_way_round() -> None:
    folder = Path(recart.data.__path__[0]).parent
    used: set[str] = set()
    for part in ("data/readers", "data/checks", "training/endpoints", "training"):
        for file in (folder / part).glob("*.py" if part != "training" else "readouts.py"):
            if file.name != "codes.py":
                used |= set(re.findall(r"\b[EW]-[A-Z]+-\d{3}\b", file.read_text()))
    assert used == set(CODES)
