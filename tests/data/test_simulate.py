"""The simulated cohort as a cohort: its design, its shape, its seed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy import stats

from recart.data.cohort import Cohort
from recart.data.simulate import Effects, SimulatedCohort, StudyDesign
from recart.data.simulate.negative_binomial import invert_negative_binomial
from recart.problems import InputError

CONFIG = Path(__file__).parents[2] / "configs" / "data" / "simulated.yaml"


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return SimulatedCohort(patients=12, cells_per_sample=40, genes=200).read()


def _same(a: Cohort, b: Cohort) -> None:
    assert (a.rna != b.rna).nnz == 0
    assert a.rna.dtype == b.rna.dtype
    np.testing.assert_array_equal(a.protein, b.protein)
    for name in ("genes", "cells", "samples", "patients", "chains"):
        pd.testing.assert_frame_equal(getattr(a, name), getattr(b, name))


def test_same_arguments_give_the_same_cohort(cohort: Cohort) -> None:
    _same(cohort, SimulatedCohort(patients=12, cells_per_sample=40, genes=200).read())


def test_another_seed_shares_genes_and_no_patient(cohort: Cohort) -> None:
    other = SimulatedCohort(patients=12, cells_per_sample=40, genes=200, seed=1).read()
    assert list(other.genes.index) == list(cohort.genes.index)
    assert not set(other.patients.index) & set(cohort.patients.index)
    assert other.rna.shape != cohort.rna.shape or (other.rna != cohort.rna).nnz > 0


def test_more_genes_leave_the_first_as_they_are(cohort: Cohort) -> None:
    more = SimulatedCohort(patients=12, cells_per_sample=40, genes=400).read()
    assert list(more.genes.index[:200]) == list(cohort.genes.index)
    pd.testing.assert_frame_equal(more.cells, cohort.cells)
    np.testing.assert_array_equal(more.protein, cohort.protein)


def test_tables_fit_together(cohort: Cohort) -> None:
    assert cohort.cells.index.is_unique
    assert cohort.genes.index.is_unique
    assert cohort.rna.shape == (len(cohort.cells), 200)
    assert cohort.rna.has_canonical_format
    assert cohort.rna.data.min() >= 1
    assert set(cohort.cells["sample"]) == set(cohort.samples.index)
    assert set(cohort.samples["patient"]) == set(cohort.patients.index)
    assert cohort.protein is not None
    assert cohort.protein.shape == (len(cohort.cells), 61)
    assert len(set(cohort.proteins)) == 61
    np.testing.assert_array_equal(cohort.protein, np.round(cohort.protein))
    assert not {"CD39", "CD16", "HLA-DR", "TCRV2", "CD269"} - set(cohort.proteins)
    assert not {"CAR-BCMA", "CD3D", "SDC1", "FCGR3A", "MT-CO1"} - set(cohort.genes.index)


def test_every_patient_has_a_sample_before_infusion_and_some_lack_one_after() -> None:
    samples = SimulatedCohort(patients=40, cells_per_sample=2, genes=200).read().samples
    before = samples[samples["day"] <= 1]
    assert sorted(before["patient"]) == sorted(set(samples["patient"]))
    assert set(before["timepoint"]) == {"pre"}
    assert (before["tissue"] == "PB").all()
    assert before["day"].between(-114, -49).all()
    after = samples[samples["timepoint"] == "post"]
    assert after["day"].between(24, 79).all()
    assert after["day"].median() == pytest.approx(30, abs=4)
    assert len(samples) == 100
    assert after["tissue"].value_counts().to_dict() == {"PB": 36, "BM": 24}


def test_product_is_confounded_with_response_at_the_published_rates() -> None:
    patients = StudyDesign().draw_patients(200, seed=4)
    rate = (patients["response"] == "CR").groupby(patients["product"]).mean()
    assert rate["ide-cel"] == pytest.approx(0.38, abs=0.01)
    assert rate["cilta-cel"] == pytest.approx(0.78, abs=0.01)


def test_batches_are_balanced_unless_they_follow_the_response() -> None:
    sound = StudyDesign().draw_patients(400, seed=0)
    table = pd.crosstab(sound["batch"], sound["response"])
    assert stats.chi2_contingency(table).pvalue > 0.01
    flawed = StudyDesign(batch_follows_response=1.0).draw_patients(400, seed=0)
    table = pd.crosstab(flawed["batch"], flawed["response"])
    assert (table.min(axis=1) == 0).all()
    assert len(table) == 4


def test_wrong_arguments_are_listed_at_once() -> None:
    with pytest.raises(InputError) as caught:
        SimulatedCohort(
            patients=1,
            cells_per_sample=0,
            genes=10,
            strength=float("nan"),
            effects=Effects(rna_state=-1),
        )
    assert [p.what.split()[0] for p in caught.value.problems] == [
        "patients",
        "cells_per_sample",
        "genes",
        "strength",
        "effects.rna_state",
    ]
    with pytest.raises(InputError, match=r"design\.post_blood is 1\.5"):
        StudyDesign(post_blood=1.5)


def test_config_builds_the_demo_cohort() -> None:
    config = OmegaConf.load(CONFIG)
    config.seed = 7
    reader = instantiate(config.reader)
    assert isinstance(reader, SimulatedCohort)
    assert reader.effects == Effects()
    assert reader.design == StudyDesign()
    assert (reader.seed, reader.patients, reader.strength) == (7, 40, 0.5)


def test_counts_by_inversion_equal_the_quantiles_of_the_distribution() -> None:
    rng = np.random.default_rng(0)
    mean = np.exp(rng.normal(-1, 2, (300, 40))).astype(np.float32)
    dispersion = np.exp(rng.normal(-0.5, 0.8, 40)).astype(np.float32)
    uniform = rng.random((300, 40), dtype=np.float32)
    flat, counts = invert_negative_binomial(mean, dispersion, uniform)
    found = np.zeros(mean.size, dtype=np.int64)
    found[flat] = counts
    size = 1 / dispersion.astype(np.float64)
    expected = stats.nbinom.ppf(uniform, size, size / (size + mean)).astype(np.int64).ravel()
    # Single precision moves the border of zero in a few of 12,000.
    assert np.sum(found != expected) <= 3
    assert np.abs(found - expected).max() <= 1


def test_counts_grow_with_their_mean() -> None:
    rng = np.random.default_rng(1)
    mean = np.exp(rng.normal(0, 1, (200, 30))).astype(np.float32)
    dispersion = np.full(30, 0.5, dtype=np.float32)
    uniform = rng.random(mean.shape, dtype=np.float32)
    low, high = np.zeros((2, mean.size), dtype=np.int64)
    for counts, factor in ((low, 1.0), (high, 1.5)):
        flat, values = invert_negative_binomial(mean * np.float32(factor), dispersion, uniform)
        counts[flat] = values
    assert (high >= low).all()
    assert high.sum() / low.sum() == pytest.approx(1.5, abs=0.05)
