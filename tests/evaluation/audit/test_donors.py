"""What says that two patients are one donor: receptors, cells, profiles, sex genes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recart.data.receptors.invariant import is_invariant, receptor_texts
from recart.data.store import CohortStore
from recart.evaluation.audit.cell_duplicates import duplicate_cells
from recart.evaluation.audit.donor_profiles import profile_distances
from recart.evaluation.audit.finding import Severity
from recart.evaluation.audit.name_patterns import name_patterns
from recart.evaluation.audit.sex_genes import given_sex, shown_sex
from recart.evaluation.audit.shared_clones import shared_clones


def clonotypes() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "v_a": ["TRAV1-2*01", "TRAV10", None, "TRAV5"],
            "j_a": ["TRAJ33*01", "TRAJ18", None, "TRAJ33"],
            "cdr3_a": ["CAVMDSNYQLIW", "CVVSDRGSTLGRLYF", None, "CAEF"],
            "v_b": ["TRBV6-1*01", None, None, "TRBV2"],
            "j_b": ["TRBJ1-1", None, None, "TRBJ1-2"],
            "cdr3_b": ["CASSF", None, None, "CASSEF"],
        }
    )


def test_receptors_are_named_by_genes_without_alleles_and_junctions() -> None:
    table = clonotypes()
    texts = receptor_texts(table)
    assert texts[0] == "TRAV1-2/TRAJ33/CAVMDSNYQLIW+TRBV6-1/TRBJ1-1/CASSF"
    assert texts[1].endswith("+")
    assert texts[2] == ""
    other = table.assign(j_b="TRBJ2-7")
    assert receptor_texts(other)[0] != texts[0]
    assert is_invariant(table).tolist() == [True, True, False, False]


def test_a_store_holds_keyed_names_and_no_sequences(simulate: Any, prepared: Any) -> None:
    cohort = simulate(0, patients=8)
    store = prepared(cohort).store
    assert store.clones["receptor"].str.fullmatch("[0-9a-f]{16}").all()
    junctions = set(cohort.chains["junction_aa"].dropna())
    assert not junctions & set(store.clones.astype(str).to_numpy().ravel())


def with_clones(store: CohortStore, names: list[list[str]]) -> CohortStore:
    rows = [(p, name) for p, own in enumerate(names) for name in own]
    clones = pd.DataFrame(rows, columns=["patient", "receptor"]).assign(
        n_cells=1, has_alpha=True, has_beta=True, known=True, invariant=False
    )
    return replace(store, clones=clones, receptor=None)


def test_public_invariant_and_single_chains_are_set_aside(
    make_store: Callable[..., CohortStore],
) -> None:
    own = [[f"p{p}c{i}" for i in range(10)] for p in range(5)]
    names = [[*own[0], *own[1][:4]], *own[1:]]
    names = [[*n, "public"] for n in names]
    found = shared_clones(with_clones(make_store(patients=5), names))
    pairs = found.pairs.set_index(["one", "other"])
    assert pairs.loc[(0, 1), "shared"] == 4
    assert pairs.loc[(0, 1), "overlap"] == pytest.approx(0.4)
    assert pairs.loc[(0, 1), "jaccard"] == pytest.approx(4 / 20)
    assert pairs["shared"].sum() == 4
    assert found.set_aside["public"] == 1

    store = with_clones(make_store(patients=5), names)
    one_chain = replace(store, clones=store.clones.assign(has_alpha=False))
    assert shared_clones(one_chain).pairs.empty
    mait = replace(store, clones=store.clones.assign(invariant=True))
    assert shared_clones(mait).set_aside["of MAIT or iNKT cells"] == 10 * 5 + 4 + 5


def test_chains_of_one_locus_leave_the_rest_of_the_check(
    simulate: Any, evaluated: Any, checks: Any
) -> None:
    cohort = simulate(0, patients=12)
    beta = cohort.chains[cohort.chains["locus"] == "TRB"].reset_index(drop=True)
    found = list(checks["identity"].findings(*evaluated(replace(cohort, chains=beta))))
    said = {own.code: own for own in found}
    assert said["A-ID-001"].severity is Severity.PASSED
    assert said["A-ID-001"].evidence["most_shared_receptors"] == 0
    assert said["A-ID-009"].severity is Severity.UNKNOWN
    assert "0 patients have private receptors of both chains" in said["A-ID-009"].what
    assert "A-ID-002" in said  # sex


def test_a_store_of_before_the_names_compares_embeddings(
    make_store: Callable[..., CohortStore],
) -> None:
    store = make_store(patients=3)
    receptor = store.receptor.copy()
    receptor[7] = receptor[2]
    pairs = shared_clones(replace(store, receptor=receptor)).pairs
    assert pairs.set_index(["one", "other"])["shared"].to_dict() == {
        (0, 1): 1,
        (0, 2): 0,
        (1, 2): 0,
    }


def test_duplicates_are_found_but_for_a_few_counts(make_store: Any) -> None:
    rng = np.random.default_rng(0)
    store = make_store(patients=3)
    counts = rng.poisson(0.6, (len(store.cells), 200))
    first, second = (np.flatnonzero(store.cells["patient"] == p)[:3] for p in (0, 2))
    counts[second] = counts[first]
    counts[second[0], rng.choice(200, 2)] += 1
    n_genes = (counts > 0).sum(axis=1)
    own = replace(store, rna=sparse.csr_matrix(counts), cells=store.cells.assign(n_genes=n_genes))
    assert duplicate_cells(own) == {(0, 2): 3}


@pytest.mark.parametrize(("panel", "copied", "found"), [(20, 40, 40), (20, 0, 0), (4, 0, 0)])
def test_cells_without_genes_are_compared_by_their_proteins(
    make_store: Any, checks: Any, panel: int, copied: int, found: int
) -> None:
    """Cells of a small panel are alike by chance, in few of the pairs and in many patients."""
    rng = np.random.default_rng(0)
    store = make_store(patients=8)
    protein = rng.poisson(4.0, (len(store.cells), panel)).astype(np.float32)
    first, second = (np.flatnonzero(store.cells["patient"] == p)[:copied] for p in (0, 2))
    protein[second] = protein[first]
    own = replace(
        store,
        rna=sparse.csr_matrix((len(store.cells), 0)),
        genes=(),
        protein=protein,
        cells=store.cells.assign(n_genes=0),
        clones=None,
        receptor=None,
    )
    assert duplicate_cells(own) == ({(0, 2): found} if found else {})
    nothing = checks["identity"]._nobody(replace(own, protein=None), None)
    assert nothing.severity is Severity.UNKNOWN


def test_two_draws_from_one_tube_are_one_apart_whatever_their_depth(make_store: Any) -> None:
    rng = np.random.default_rng(0)
    store = make_store(patients=3, cells=400)
    patient = store.cells["patient"].to_numpy()
    rate = rng.gamma(1.0, 1.0, 300)
    other = rate * np.exp(rng.normal(0, 0.5, 300))
    rates = np.where((patient == 2)[:, None], other, rate) * np.where(patient == 1, 0.4, 1)[:, None]
    counts = rng.poisson(rates * rng.gamma(3, 1 / 3, len(patient))[:, None])
    own = replace(
        store,
        rna=sparse.csr_matrix(counts),
        cells=store.cells.assign(n_counts=counts.sum(axis=1)),
    )
    found = profile_distances(own).set_index(["one", "other"])["matched"]
    assert 0.7 < found[(0, 1)] < 1.2
    assert min(found[(0, 2)], found[(1, 2)]) > 3


def test_one_near_sample_of_two_is_not_one_person(make_store: Any) -> None:
    rng = np.random.default_rng(0)
    store = make_store(patients=3, cells=800)
    sample = store.cells["sample"].to_numpy()
    common, *own = (rng.gamma(1.0, 1.0, 300) for _ in range(4))
    first = {int(np.flatnonzero(store.samples["patient"] == p)[0]) for p in range(3)}
    patient = store.cells["patient"].to_numpy()
    second = np.array([own[0], own[0], own[1]])[patient]  # patients 0 and 1 are one person
    rates = np.where(np.isin(sample, list(first))[:, None], common, second)
    counts = rng.poisson(rates)
    found = profile_distances(
        replace(
            store,
            rna=sparse.csr_matrix(counts),
            cells=store.cells.assign(n_counts=counts.sum(axis=1)),
        )
    ).set_index(["one", "other"])
    assert (found["nearest"] < 1.2).all()
    assert found.loc[(0, 1), "matched"] < 1.2
    assert found.loc[[(0, 2), (1, 2)], "matched"].min() > 1.5


NEAR = {
    **dict.fromkeys(("cells", "shared", "overlap", "jaccard", "jaccard_of_others"), 0.0),
    **{"nearest": 1.1, "matched": 1.1, "nearest_below": -3.0, "matched_below": -4.6},
}


@pytest.mark.parametrize(
    ("usual", "shared", "severity"),
    [
        (2.3, 0.0, Severity.LEAK),
        (1.95, 0.0, Severity.WARNING),  # other pairs are hardly further apart
        (1.95, 1.0, Severity.LEAK),
    ],
)
def test_profiles_accuse_nobody_where_all_are_near(
    checks: Any, usual: float, shared: float, severity: Severity
) -> None:
    assert checks["identity"].judge({**NEAR, "usual": usual, "shared": shared}) is severity


def test_sex_genes_against_the_table(make_store: Any, checks: Any) -> None:
    store = make_store(patients=4, cells=150)
    rng = np.random.default_rng(0)
    female = store.cells["patient"].isin([0, 1]).to_numpy()
    xist = rng.poisson(np.where(female, 0.6, 0.01))
    y_gene = rng.poisson(np.where(female, 0.01, 0.8))
    rna = sparse.hstack([store.rna, sparse.csr_matrix(np.stack([xist, y_gene], axis=1))]).tocsr()
    patients = store.patients.assign(sex=["F", "male", "M", None])
    own = replace(store, rna=rna, genes=(*store.genes, "XIST", "DDX3Y"), patients=patients)
    assert shown_sex(own).tolist() == ["female"] * 4 + ["male"] * 4
    assert given_sex(own).tolist() == ["female", "male", "male"]
    found = list(checks["identity"]._sex(own))
    assert [(f.code, f.severity) for f in found] == [("A-ID-002", Severity.WARNING)]
    assert "P-001" in found[0].what
    assert shown_sex(store) is None


def test_parts_of_names() -> None:
    table = name_patterns(["R-01_pre", "NR-17_pre"], "patient")
    assert table["word 1 in the patient id"].tolist() == ["R", "NR"]
    assert table["number 2 in the patient id"].tolist() == [1, 17]
    assert table["length of the patient id"].tolist() == [8, 9]
