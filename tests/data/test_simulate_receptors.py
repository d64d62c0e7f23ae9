"""Receptor chains of the simulated cohort."""

import numpy as np
import pandas as pd
import pytest

from recart.data.cohort import CHAIN_COLUMNS, Cohort
from recart.data.simulate import SimulatedCohort


@pytest.fixture(scope="module")
def simulated() -> tuple[Cohort, pd.DataFrame]:
    cohort, truth = SimulatedCohort(patients=8, cells_per_sample=400, genes=200).simulate()
    return cohort, truth.cells


def test_detection_rates(simulated: tuple[Cohort, pd.DataFrame]) -> None:
    cohort, truth = simulated
    chains = cohort.chains
    assert chains is not None
    assert tuple(chains.columns) == CHAIN_COLUMNS
    assert set(chains["cell"]) <= set(cohort.cells.index)
    t_cells = truth.index[(truth["clone"] >= 0) & cohort.cells["cell_type"].str.match("C|T|M|d")]
    good = chains[chains["productive"]]
    trb = t_cells.isin(good.loc[good["locus"] == "TRB", "cell"])
    tra = t_cells.isin(good.loc[good["locus"] == "TRA", "cell"])
    assert trb.mean() == pytest.approx(0.72, abs=0.03)
    assert (tra & trb).mean() == pytest.approx(0.58, abs=0.03)


def test_no_receptor_outside_lymphocytes(simulated: tuple[Cohort, pd.DataFrame]) -> None:
    cohort, _ = simulated
    assert cohort.chains is not None
    of = cohort.cells["cell_type"].loc[cohort.chains["cell"]].to_numpy()
    b_cell = np.isin(of, ["B naive", "B memory", "Plasma cells"])
    assert not np.isin(of, ["CD14 Mono", "CD16 Mono", "NK", "Erythroid", "gdT"]).any()
    np.testing.assert_array_equal(cohort.chains["locus"].str.startswith("IG"), b_cell)


def test_cells_share_a_receptor_exactly_when_they_share_a_clone(
    simulated: tuple[Cohort, pd.DataFrame],
) -> None:
    cohort, truth = simulated
    assert cohort.chains is not None
    for locus in ("TRB", "IGH"):
        chains = cohort.chains[cohort.chains["productive"] & (cohort.chains["locus"] == locus)]
        pair = pd.DataFrame(
            {
                "receptor": (chains["v_call"] + chains["junction_aa"]).to_numpy(),
                "clone": truth.loc[chains["cell"], "clone"].to_numpy(),
            }
        ).drop_duplicates()
        assert pair["clone"].is_unique
        # Two clones of thousands may meet in a short junction by chance.
        assert pair["receptor"].duplicated().sum() <= 2


def test_genes_are_known_and_junctions_are_whole(simulated: tuple[Cohort, pd.DataFrame]) -> None:
    tidytcells = pytest.importorskip("tidytcells")
    cohort, _ = simulated
    assert cohort.chains is not None
    chains = cohort.chains[cohort.chains["productive"]]
    t_chains = chains[chains["locus"].str.startswith("TR")]
    for gene in pd.unique(t_chains[["v_call", "j_call"]].to_numpy().ravel()):
        assert tidytcells.tr.standardize(gene, enforce_functional=True) == gene
    for gene in pd.unique(
        chains.loc[chains["locus"].str.startswith("IG"), ["v_call", "j_call"]].to_numpy().ravel()
    ):
        assert tidytcells.ig.standardize(gene, enforce_functional=True) == gene
    assert chains["junction_aa"].str.fullmatch("C[ACDEFGHIKLMNPQRSTVWY]{5,28}[FW]").all()
    assert chains["junction_aa"].str.len().between(9, 25).all()
    mait = cohort.cells["cell_type"].loc[t_chains["cell"]].to_numpy() == "MAIT"
    alpha = t_chains[mait & (t_chains["locus"] == "TRA").to_numpy()]
    assert set(alpha["v_call"] + alpha["j_call"]) == {"TRAV1-2TRAJ33"}


def test_unproductive_chains_are_marked(simulated: tuple[Cohort, pd.DataFrame]) -> None:
    cohort, _ = simulated
    assert cohort.chains is not None
    broken = cohort.chains[~cohort.chains["productive"]]
    assert 0.01 < len(broken) / len(cohort.chains) < 0.06
    assert broken["junction_aa"].str.contains("_").all()
