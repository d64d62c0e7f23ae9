"""Clonotype calling: rules on hand-made cells, properties on random ones, counts on real ones."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recart.data.cohort import CHAIN_COLUMNS
from recart.data.receptors.clonotypes import BCR, TCR, Clonotypes, ReceptorType, call_clonotypes
from recart.problems import InputError

ALPHA = ("TRA", "TRAV1-1", "CAVF")
BETA = ("TRB", "TRBV2", "CASSF")
OTHER_ALPHA = ("TRA", "TRAV3", "CAAF")
OTHER_BETA = ("TRB", "TRBV7-2", "CATF")


def chains(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Rows of (cell, (locus, V, junction), umis, productive, clone_id), later ones optional."""
    table = []
    for cell, chain, *rest in rows:
        umis, productive, clone_id = [*rest, *[5, True, np.nan][len(rest) :]]
        locus, v, junction = chain
        table.append((cell, locus, v, np.nan, junction, umis, productive, clone_id))
    return pd.DataFrame(table, columns=list(CHAIN_COLUMNS))


def call(
    rows: list[tuple[Any, ...]], cells: str, patients: str, receptor: ReceptorType = TCR
) -> Clonotypes:
    return call_clonotypes(chains(rows), pd.Index(list(cells)), pd.Series(list(patients)), receptor)


def test_cells_with_the_same_pair_share_a_clonotype_within_the_patient_only() -> None:
    rows = [(cell, chain) for cell in "abc" for chain in (ALPHA, BETA)]
    found = call(rows, "abcd", "PPQQ")
    a, b, c, d = found.of_cell
    assert a == b != c
    assert d == -1
    assert found.of_cell.dtype == np.int32
    assert found.table["n_cells"].tolist() == [2, 1]
    assert found.table["patient"].tolist() == ["P", "Q"]
    first = found.table.loc[0]
    assert (first["v_a"], first["cdr3_a"], first["v_b"], first["cdr3_b"]) == (
        *ALPHA[1:],
        *BETA[1:],
    )


def test_a_lone_chain_is_its_own_clonotype_and_shows_no_other_chain() -> None:
    found = call([("a", ALPHA), ("a", BETA), ("b", BETA), ("c", BETA)], "abc", "PPP")
    assert found.of_cell[1] == found.of_cell[2] != found.of_cell[0]
    lone = found.table.loc[found.of_cell[1]]
    assert (lone["has_alpha"], lone["has_beta"], lone["v_a"], lone["cdr3_a"]) == (
        False,
        True,
        None,
        None,
    )


def test_the_chain_with_most_umis_counts_and_a_second_alpha_is_flagged() -> None:
    rows = [
        ("a", ALPHA, 2),
        ("a", OTHER_ALPHA, 9),
        ("a", BETA),
        ("b", OTHER_ALPHA, 1),
        ("b", BETA),
    ]
    found = call(rows, "ab", "PP")
    assert found.of_cell[0] == found.of_cell[1]
    assert found.table.loc[found.of_cell[0], "cdr3_a"] == OTHER_ALPHA[2]
    assert found.second_first.tolist() == [True, False]
    assert not found.doublet.any()


def test_two_pairs_or_three_chains_of_one_kind_are_a_doublet() -> None:
    third = ("TRB", "TRBV9", "CSSF")
    rows = [("a", c) for c in (ALPHA, OTHER_ALPHA, BETA, OTHER_BETA)]
    rows += [("b", c) for c in (BETA, OTHER_BETA, third)]
    rows += [("c", c) for c in (ALPHA, BETA, OTHER_BETA)]
    assert call(rows, "abc", "PPP").doublet.tolist() == [True, True, False]


def test_contigs_of_the_same_chain_are_one_chain_with_their_umis_added() -> None:
    rows = [("a", ALPHA, 3), ("a", ALPHA, 3), ("a", OTHER_ALPHA, 5), ("a", BETA)]
    found = call(rows, "a", "P")
    assert found.table.loc[0, "cdr3_a"] == ALPHA[2]
    assert found.second_first.tolist() == [True]


@pytest.mark.parametrize("value", [False, "False", "false", 0, 0.0, np.False_])
def test_known_unproductive_chains_are_dropped(value: object) -> None:
    found = call([("a", ALPHA, 5, value), ("a", BETA, 1, True)], "a", "P")
    assert found.dropped == {"not productive": 1}
    assert not found.table.loc[0, "has_alpha"]


@pytest.mark.parametrize("value", [True, "True", 1, np.nan, None, "None"])
def test_productive_and_unknown_chains_are_kept(value: object) -> None:
    found = call([("a", ALPHA, 5, value)], "a", "P")
    assert found.dropped == {}
    assert found.table.loc[0, "has_alpha"]


def test_every_dropped_chain_is_counted_under_one_reason() -> None:
    rows = [
        ("stranger", ALPHA),
        ("stranger", ALPHA, 5, False),
        ("a", ("TRG", "TRGV9", "CALF")),
        ("a", ("TRB", "TRBV2", "CAS*F")),
        ("a", ("TRB", "TRBV2", "CA_SF")),
        ("a", ("TRA", "TRAV3", None)),
        ("a", BETA, 5, False),
        ("a", ALPHA),
    ]
    found = call(rows, "a", "P")
    assert found.dropped == {
        "cell not in cohort": 2,
        "locus not of a TCR": 1,
        "not productive": 1,
        "stop codon or frameshift in junction": 2,
        "no junction": 1,
    }
    assert found.of_cell.tolist() == [0]


def test_allele_and_case_do_not_split_a_clone() -> None:
    rows = [("a", BETA), ("b", ("TRB", "TRBV2*01", "cassf"))]
    assert len(call(rows, "ab", "PP").table) == 1


def test_given_clone_ids_need_no_sequences_and_stay_within_the_patient() -> None:
    none = (np.nan, np.nan, np.nan)
    rows = [(cell, none, np.nan, np.nan, "clone1") for cell in "abc"]
    found = call(rows, "abc", "PPQ")
    assert found.of_cell[0] == found.of_cell[1] != found.of_cell[2]
    assert found.dropped == {}
    assert found.table["given"].all()
    assert not found.table[["has_alpha", "has_beta"]].to_numpy().any()


def test_given_clone_ids_win_and_show_the_receptor_of_most_cells() -> None:
    rows = [(cell, BETA, 5, True, "x") for cell in "abc"] + [("d", OTHER_BETA, 5, True, "x")]
    rows += [("e", BETA)]
    found = call(rows, "abcde", "PPPPP")
    assert len(set(found.of_cell[:4])) == 1
    assert found.of_cell[4] != found.of_cell[0]
    assert found.table.loc[found.of_cell[0], "cdr3_b"] == BETA[2]


def test_clone_ids_that_start_anew_in_each_sample_are_refused() -> None:
    betas = [("TRB", "TRBV2", f"CASS{letter}F") for letter in "ADEFGHIKLMNPQRSTVWYC"]
    rows = [(chr(97 + i), beta, 5, True, f"clonotype{i % 10}") for i, beta in enumerate(betas)]
    with pytest.raises(InputError, match="10 of 10 clone ids") as caught:
        call(rows, "abcdefghijklmnopqrst", "P" * 20)
    assert caught.value.problems[0].column == "clone_id"


def test_b_cell_receptors_pair_light_of_either_locus_with_heavy() -> None:
    rows = [
        ("a", ("IGH", "IGHV3-23", "CARW")),
        ("a", ("IGK", "IGKV1-5", "CQQF"), 3),
        ("a", ("IGL", "IGLV2-14", "CSSF"), 8),
        ("a", ALPHA),
    ]
    found = call(rows, "a", "P", BCR)
    row = found.table.loc[0]
    assert (row["cdr3_h"], row["cdr3_l"], row["has_heavy"]) == ("CARW", "CSSF", True)
    assert found.second_first.tolist() == [True]
    assert found.dropped == {"locus not of a BCR": 1}


def test_no_chains_at_all() -> None:
    found = call([], "ab", "PP")
    assert found.of_cell.tolist() == [-1, -1]
    assert len(found.table) == 0
    assert {"patient", "v_a", "cdr3_b", "n_cells", "has_alpha"} <= set(found.table.columns)


CHAIN = st.tuples(
    st.sampled_from("abcdef"),
    st.sampled_from([ALPHA, BETA, OTHER_ALPHA, OTHER_BETA]),
    st.integers(1, 3),
    st.sampled_from([True, False, np.nan]),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(CHAIN, max_size=20), st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing_and_sizes_add_up(
    rows: list[tuple[Any, ...]], random: Random
) -> None:
    found = call(rows, "abcdefg", "PPPQQQQ")
    shuffled = rows.copy()
    random.shuffle(shuffled)
    again = call(shuffled, "abcdefg", "PPPQQQQ")
    pd.testing.assert_frame_equal(found.table, again.table)
    np.testing.assert_array_equal(found.of_cell, again.of_cell)
    sizes = np.bincount(found.of_cell[found.of_cell >= 0], minlength=len(found.table))
    assert found.table["n_cells"].tolist() == sizes.tolist()
    owners = found.table["patient"].to_numpy()[found.of_cell[found.of_cell >= 0]]
    assert (owners == np.array(list("PPPQQQQ"))[found.of_cell >= 0]).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(CHAIN, max_size=20))
def test_another_patient_changes_nothing(rows: list[tuple[Any, ...]]) -> None:
    both = call(rows, "abcdef", "PPPQQQ")
    alone = call([row for row in rows if row[0] in "abc"], "abc", "PPP")
    ours = both.table[both.table["patient"] == "P"]
    pd.testing.assert_frame_equal(ours.reset_index(drop=True), alone.table, check_dtype=False)
    np.testing.assert_array_equal(both.of_cell[:3], alone.of_cell)


@pytest.mark.real_data
def test_carpall_contigs() -> None:
    folder = os.environ.get("RECART_REAL_DATA")
    if not folder:
        pytest.skip("RECART_REAL_DATA is not set")
    contigs = pd.read_parquet(Path(folder) / "carpall_cart" / "tcr_contigs.parquet")
    table = pd.DataFrame(
        {
            "cell": contigs["tcr_sample"].astype(str) + ":" + contigs["barcode"].astype(str),
            "locus": contigs["chain"],
            "v_call": contigs["v_gene"],
            "j_call": contigs["j_gene"],
            "junction_aa": contigs["cdr3"],
            "umis": contigs["umis"],
            "productive": np.nan,
            "clone_id": np.nan,
        }
    )
    owner = dict(zip(table["cell"], contigs["patient"].astype(str), strict=True))
    cells = pd.Index(list(owner))
    patients = pd.Series(list(owner.values()))
    found = call_clonotypes(table, cells, patients)
    assert len(table) == 202_206
    assert len(cells) == 106_903
    assert (found.of_cell >= 0).all()
    assert found.dropped == {}
    assert found.table["patient"].nunique() == 10
    # Cell Ranger's own clonotypes of one library also group by sequence: nearly as many
    raw = (contigs["tcr_sample"].astype(str) + contigs["raw_clonotype_id"].astype(str)).nunique()
    assert 0.9 * raw < len(found.table) < raw
    with pytest.raises(InputError, match="start anew in each sample"):
        call_clonotypes(table.assign(clone_id=contigs["raw_clonotype_id"]), cells, patients)


@pytest.mark.real_data
def test_blood_lung_contigs_share_clones_between_tissues() -> None:
    folder = os.environ.get("RECART_REAL_DATA")
    if not folder:
        pytest.skip("RECART_REAL_DATA is not set")
    contigs = pd.read_parquet(Path(folder) / "tcr_10x_blood_lung" / "contigs.parquet")
    sample = contigs["sample"].astype(str)
    table = pd.DataFrame(
        {
            "cell": sample + ":" + contigs["barcode"].astype(str),
            "locus": contigs["chain"],
            "v_call": contigs["v_gene"],
            "j_call": contigs["j_gene"],
            "junction_aa": contigs["cdr3"],
            "umis": contigs["umis"],
            "productive": contigs["productive"],
            "clone_id": np.nan,
        }
    )
    cells = pd.Index(table["cell"].unique())
    patients = cells.to_series().str[:3].reset_index(drop=True)
    found = call_clonotypes(table, cells, patients)
    assert found.dropped == {"locus not of a TCR": 1}  # Cell Ranger's "Multi"
    tissue = cells.to_series().str[3].to_numpy()
    kept = found.of_cell >= 0
    tissues = pd.Series(tissue[kept]).groupby(found.of_cell[kept]).nunique()
    assert 100 < (tissues == 2).sum() < 0.1 * len(found.table)
