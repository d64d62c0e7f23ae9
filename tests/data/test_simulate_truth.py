"""Without strength no cell knows the label; with it, the truth says who does and how well."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from recart.data.simulate import MECHANISMS, Effects, SimulatedCohort, StudyDesign

GENES = 200


def _all_on() -> Effects:
    return Effects(**dict.fromkeys(MECHANISMS, 1.0))


class TestWithoutStrength:
    def test_cells_do_not_change_when_the_labels_do(self) -> None:
        designs = (StudyDesign(), StudyDesign(cr_rate_ide_cel=0.7, cr_rate_cilta_cel=0.2))
        one, other = (
            SimulatedCohort(20, 30, GENES, strength=0, effects=_all_on(), design=d).read()
            for d in designs
        )
        assert (one.patients["response"] != other.patients["response"]).any()
        assert (one.rna != other.rna).nnz == 0
        np.testing.assert_array_equal(one.protein, other.protein)
        pd.testing.assert_frame_equal(one.cells, other.cells)
        pd.testing.assert_frame_equal(one.chains, other.chains)
        pd.testing.assert_frame_equal(one.samples, other.samples)

    def test_patient_features_do_not_separate_the_groups(self) -> None:
        p_values = []
        for seed in range(3):
            cohort = SimulatedCohort(40, 60, GENES, seed, 0.0).read()
            owner = cohort.samples["patient"].loc[cohort.cells["sample"]].to_numpy()
            features = pd.crosstab(owner, cohort.cells["cell_type"], normalize="index")
            features[cohort.proteins] = pd.DataFrame(np.log1p(cohort.protein)).groupby(owner).mean()
            complete = cohort.patients["response"].loc[features.index] == "CR"
            p_values += [
                stats.mannwhitneyu(column[complete], column[~complete]).pvalue
                for _, column in features.items()
                if column.nunique() > 20
            ]
        assert len(p_values) > 200
        # Features of a patient correlate, so that the share varies more than 5 % +- 1 %.
        assert np.mean(np.array(p_values) < 0.05) < 0.12
        assert np.mean(np.array(p_values) < 0.5) == pytest.approx(0.5, abs=0.12)

    def test_truth_is_that_nothing_carries_it(self) -> None:
        _, truth = SimulatedCohort(6, 50, GENES, strength=0, effects=_all_on()).simulate()
        assert not truth.cells[list(MECHANISMS)].to_numpy().any()
        assert not truth.patients.to_numpy().any()
        assert truth.markers == {}


class TestTruth:
    def test_oracle_ranks_patients_and_grows_with_strength(self) -> None:
        found = []
        for strength in (0.25, 0.5, 1.0):
            cohort, truth = SimulatedCohort(200, 1, GENES, 3, strength).simulate()
            complete = cohort.patients["response"] == "CR"
            found.append(roc_auc_score(complete, truth.patients["oracle_before"]))
            assert roc_auc_score(complete, truth.patients["oracle"]) >= found[-1] - 0.01
        assert found[0] < found[1] < found[2]
        assert found[2] > 0.98

    def test_log_likelihood_ratio_is_calibrated(self) -> None:
        """Weighted by the odds that it states, one group becomes the other."""
        effects = Effects(**{m: float(m == "protein_only") for m in MECHANISMS})
        cohort, truth = SimulatedCohort(400, 1, GENES, 3, 0.5, effects).simulate()
        complete = (cohort.patients["response"] == "CR").to_numpy()
        ratio = truth.patients["oracle"].to_numpy()
        # E[exp(-score) | CR] = 1 and E[exp(score) | no CR] = 1 for a true likelihood ratio.
        assert np.exp(-ratio[complete]).mean() == pytest.approx(1, abs=0.35)
        assert np.exp(ratio[~complete]).mean() == pytest.approx(1, abs=0.35)

    def test_default_carriers(self) -> None:
        _, truth = SimulatedCohort(6, 50, GENES).simulate()
        carried = truth.cells[list(MECHANISMS)].any()
        assert carried[carried].index.tolist() == [
            "composition",
            "rna_state",
            "protein_only",
            "clonal_expansion",
        ]
        assert set(truth.markers) == set(carried[carried].index)
        held = truth.cells["clone"] >= 0
        counts = truth.cells.loc[held, "clone"].value_counts().sort_index()
        np.testing.assert_array_equal(counts.to_numpy(), truth.clones["n_cells"])
