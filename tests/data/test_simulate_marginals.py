"""Marginals of the simulated counts: in the measured range, and beside the real data themselves."""

import os
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from recart.data.cohort import Cohort
from recart.data.simulate import SimulatedCohort, StudyDesign

real_data = pytest.mark.skipif(
    "RECART_REAL_DATA" not in os.environ, reason="RECART_REAL_DATA is not set"
)


def _real(name: str) -> Path:
    return Path(os.environ["RECART_REAL_DATA"]) / name


def _overdispersion(counts: np.ndarray) -> np.ndarray:
    mean = counts.mean(axis=0)
    return (counts.var(axis=0) - mean) / mean**2


@pytest.fixture(scope="module")
def wide() -> Cohort:
    """As many genes as the measured ones: 4,000."""
    return SimulatedCohort(12, 150, 4000, seed=1, strength=0.0).read()


@pytest.fixture(scope="module")
def published() -> Cohort:
    """Effects as published, enough cells to see rare populations."""
    return SimulatedCohort(60, 1000, 161, seed=1, strength=1.0).read()


def test_rna_is_as_sparse_and_deep_as_10x(wide: Cohort) -> None:
    umis = np.asarray(wide.rna.sum(axis=1)).ravel()
    # 10x PBMC, 4,000 genes: median 661 (interquartile range 498 to 1,495), 91 % zeros.
    assert 500 < np.median(umis) < 1200
    assert 1.5 < np.quantile(umis, 0.75) / np.quantile(umis, 0.25) < 3.5
    assert 1 - wide.rna.nnz / np.prod(wide.rna.shape) == pytest.approx(0.90, abs=0.03)
    counts = wide.rna.toarray().astype(np.float64)
    expressed = counts.mean(axis=0) > 0.02
    # Measured 1.9 over all cells, with the differences between populations.
    assert 0.8 < np.median(_overdispersion(counts[:, expressed])) < 3.5
    mito = np.asarray(wide.rna[:, wide.genes.index.str.startswith("MT-")].sum(axis=1)).ravel()
    assert 0.01 < np.median(mito / umis) < 0.08


def test_the_demo_has_enough_counts_to_learn_from() -> None:
    cohort = SimulatedCohort(6, 100, 1000).read()
    assert 250 < np.median(np.asarray(cohort.rna.sum(axis=1))) < 1500


def test_protein_background_and_foreground(wide: Cohort) -> None:
    counts = wide.protein
    assert counts is not None
    # 10x PBMC: 5,619 counts per cell (3,232 to 7,725); background 2 to 77 counts.
    low, median, high = np.quantile(counts.sum(axis=1), [0.25, 0.5, 0.75])
    assert 3000 < median < 9000
    assert 1.5 < high / low < 3.0
    # CD45 is on nearly every cell, so that its lowest cells are no background.
    background = np.quantile(np.delete(counts, wide.proteins.index("CD45"), axis=1), 0.1, axis=0)
    assert background.max() <= 77
    assert background.min() >= 1
    assert np.median(background) >= 2
    ratios = []
    for name, positive, negative in (
        ("CD3e", "CD8 TEM", "CD14 Mono"),
        ("CD14", "CD14 Mono", "CD8 TEM"),
        ("CD16", "NK", "CD4 TCM"),
        ("CD8a", "CD8 TEM", "CD4 TCM"),
        ("CD4", "CD4 TCM", "NK"),
    ):
        column = counts[:, wide.proteins.index(name)]
        kind = wide.cells["cell_type"].to_numpy()
        ratios.append(np.median(column[kind == positive]) / np.median(column[kind == negative]))
    # Positive populations are 10 to 600 times the background.
    assert min(ratios) > 10
    assert max(ratios) < 600


def test_car_transcript_is_missed_in_a_third_of_car_t_cells() -> None:
    cohort = SimulatedCohort(20, 1500, 161, strength=1.0).read()
    column = cohort.rna[:, cohort.genes.index.get_loc("CAR-BCMA")].toarray().ravel() > 0
    car = (cohort.cells["cell_type"] == "CAR T").to_numpy()
    after = (cohort.samples["timepoint"] == "post").loc[cohort.cells["sample"]].to_numpy()
    assert car.sum() > 500
    assert column[car].mean() == pytest.approx(0.67, abs=0.06)
    assert column[~car & after].mean() < 0.0013
    assert not column[~after].any()


def test_clones_of_a_study_sized_sample() -> None:
    cohort = SimulatedCohort(
        10, 7000, 161, seed=3, design=StudyDesign(post_blood=0, post_marrow=0)
    ).read()
    assert cohort.chains is not None
    trb = cohort.chains[cohort.chains["productive"] & (cohort.chains["locus"] == "TRB")]
    sizes = trb.groupby(
        [trb["cell"].str.rsplit("_", n=1).str[0], trb["v_call"], trb["junction_aa"]]
    ).size()
    share = sizes / sizes.groupby(level=0).transform("sum")
    shannon = -(share * np.log(share)).groupby(level=0).sum()
    single = share[sizes == 1].groupby(level=0).sum()
    large = share[sizes > 4].groupby(level=0).sum()
    # Ten patients before infusion: Shannon 4.0 to 6.5, singles 22 to 86 %, above four 2 to 65 %.
    assert shannon.between(3.8, 7.5).all()
    assert 5.0 < shannon.median() < 6.5
    assert 0.3 < single.median() < 0.7
    assert 0.15 < large.median() < 0.5
    assert large.max() - large.min() > 0.15


@pytest.mark.real_data
@real_data
def test_beside_real_cite_seq(wide: Cohort) -> None:
    real = ad.read_h5ad(_real("citeseq_pbmc/pbmc10k_citeseq_rna4000_adt14.h5ad"))
    x = real.X.toarray()
    assert 1 - wide.rna.nnz / np.prod(wide.rna.shape) == pytest.approx((x == 0).mean(), abs=0.03)
    umis = np.median(np.asarray(wide.rna.sum(axis=1)))
    assert 0.6 < umis / np.median(x.sum(axis=1)) < 1.7
    y, ours = np.asarray(real.obsm["protein_counts"], dtype=np.float64), wide.protein
    assert ours is not None
    assert 0.6 < np.median(ours.sum(axis=1)) / np.median(y.sum(axis=1)) < 1.7
    # Over all cells, hence mostly the contrast between positive and background.
    ratio = np.median(_overdispersion(ours.astype(np.float64))) / np.median(_overdispersion(y))
    assert 0.4 < ratio < 2.5
    tails = [np.quantile(c, [0.1, 0.99], axis=0) for c in (ours, y)]
    contrast = [np.median(high / np.maximum(low, 1)) for low, high in tails]
    assert 0.3 < contrast[0] / contrast[1] < 3


@pytest.mark.real_data
@real_data
def test_beside_real_car_t_cells(published: Cohort) -> None:
    real = ad.read_h5ad(_real("carpall_cart/carpall_merged_3k_genes.h5ad"), backed="r").obs
    real = real[real["is_car_annotated"]]
    assert published.chains is not None
    car = published.cells.index[published.cells["cell_type"] == "CAR T"]
    good = published.chains[published.chains["productive"]]
    ours, theirs = {}, {}
    for locus in ("TRA", "TRB"):
        ours[locus] = car.isin(good.loc[good["locus"] == locus, "cell"])
        theirs[locus] = real[f"{locus}_cdr3"].notna().to_numpy()
        assert ours[locus].mean() == pytest.approx(theirs[locus].mean(), abs=0.03)
    both = (ours["TRA"] & ours["TRB"]).mean()
    assert both == pytest.approx((theirs["TRA"] & theirs["TRB"]).mean(), abs=0.03)
    transcript = published.rna[:, published.genes.index.get_loc("CAR-BCMA")].toarray().ravel()
    seen = (transcript[published.cells.index.get_indexer(car)] > 0).mean()
    assert seen == pytest.approx((real["car_umi"] > 0).mean(), abs=0.03)


@pytest.mark.real_data
@real_data
def test_fractions_beside_the_study(published: Cohort) -> None:
    """Medians within a factor of 1.8 in blood, of 5 in marrow (four patients against two).

    By response where the study reports a shift; else the geometric mean of both groups.
    """
    real = pd.read_csv(_real("leipzig_bcma_2024/celltype_fractions_digitised.csv"))
    theirs = real.pivot_table(index="celltype", columns=["sample", "response"], values="median")
    ours = pd.crosstab(published.cells["sample"], published.cells["cell_type"], normalize="index")
    samples = published.samples.loc[ours.index]
    response = published.patients["response"].loc[samples["patient"]].to_numpy()
    place = (samples["timepoint"] + "_" + samples["tissue"]).replace("pre_PB", "pre").to_numpy()
    median = ours.groupby([place, response]).median().T
    for where, factor, shifted, others in (
        ("pre", 1.8, ["CD14 Mono", "CD8 TEM", "NK"], ["CD16 Mono", "CD4 TCM", "cDC2", "Platelet"]),
        (
            "post_PB",
            1.8,
            ["CD14 Mono", "NK"],
            ["CD16 Mono", "CD4 TCM", "cDC2", "CD8 TEM", "Platelet"],
        ),
        ("post_BM", 5.0, ["Plasma cells"], ["CD14 Mono", "NK", "cDC2", "GMP"]),
    ):
        known = [*shifted, *others]
        log_ratio = np.log(median[where].loc[known] / theirs[where].loc[known])
        assert np.abs(log_ratio.loc[shifted]).to_numpy().max() < np.log(factor), where
        assert np.abs(log_ratio.loc[others].mean(axis=1)).max() < np.log(factor), where
    car = median["post_PB"].loc["CAR T"]
    assert 3 < car["CR"] / car["nonCR"] < 30


@pytest.mark.real_data
@real_data
def test_cd39_beside_the_study(published: Cohort) -> None:
    real = pd.read_csv(_real("leipzig_bcma_2024/adt_patient_means_digitised_pre_PB.csv"))
    counts = published.protein
    assert counts is not None
    clr = np.log1p(counts / np.exp(np.log1p(counts).mean(axis=1, keepdims=True)))
    cells = published.cells["sample"].str.endswith("pre_PB").to_numpy()
    cells &= (published.cells["cell_type"] == "CD16 Mono").to_numpy()
    patient = published.samples["patient"].loc[published.cells["sample"][cells]].to_numpy()
    cd39 = clr[cells, published.proteins.index("CD39")]
    mean = pd.Series(cd39).groupby(patient).mean()
    for group in ("CR", "nonCR"):
        ours = mean[(published.patients["response"].loc[mean.index] == group).to_numpy()]
        theirs = real.loc[real["response"] == group, "CD16mono_CD39"]
        assert ours.mean() == pytest.approx(theirs.mean(), abs=0.25)
        assert 0.1 < ours.std() < 0.5
