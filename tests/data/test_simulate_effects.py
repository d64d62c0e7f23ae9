"""Each mechanism moves its own target and nothing else.

Cohorts of one seed share their noise, so that a mechanism can be compared with its absence.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from recart.data.cohort import Cohort
from recart.data.simulate import MECHANISMS, Effects, SimulatedCohort, StudyDesign, Truth

PATIENTS, GENES = 60, 200


@dataclass(frozen=True)
class Run:
    cohort: Cohort
    truth: Truth

    @cached_property
    def rna(self) -> np.ndarray:
        return self.cohort.rna.toarray().astype(np.int64)

    @property
    def after(self) -> np.ndarray:
        by_sample = self.cohort.samples["timepoint"] == "post"
        return by_sample.loc[self.cohort.cells["sample"]].to_numpy()

    @property
    def patient(self) -> np.ndarray:
        return self.cohort.samples["patient"].loc[self.cohort.cells["sample"]].to_numpy()

    @property
    def complete(self) -> pd.Series:
        return self.cohort.patients["response"] == "CR"

    def genes(self, mechanism: str) -> np.ndarray:
        return self.cohort.genes.index.isin(self.truth.markers[mechanism])

    def by_patient(self, values: np.ndarray, cells: np.ndarray) -> pd.Series:
        """Mean of each patient over the given cells; patients without any are left out."""
        return pd.Series(values[cells]).groupby(self.patient[cells]).mean()


@cache
def _run(mechanism: str | None) -> Run:
    """Strength 1 with one mechanism only, or strength 0."""
    effects = Effects(**{m: float(m == mechanism) for m in MECHANISMS})
    strength = 0.0 if mechanism is None else 1.0
    return Run(
        *SimulatedCohort(PATIENTS, 120, GENES, 5, strength, effects).simulate(),
    )


def _fold(on: pd.Series, off: pd.Series, complete: pd.Series) -> tuple[float, float]:
    """Mean log fold of switching on: with CR, without CR."""
    change = np.log(on / off).replace([np.inf, -np.inf], np.nan).dropna()
    of = complete.reindex(change.index)
    return float(change[of].mean()), float(change[~of].mean())


class TestComposition:
    def test_log_ratios_shift_as_published(self) -> None:
        def log_ratio(run: Run, timepoint: str, over: str, under: str) -> float:
            cells = run.after == (timepoint == "post")
            cells &= run.cohort.cells["sample"].str.endswith("PB").to_numpy()
            count = pd.crosstab(run.patient[cells], run.cohort.cells["cell_type"][cells]) + 0.5
            value = np.log(count[over] / count[under])
            of = run.complete.loc[value.index]
            return float(value[of].mean() - value[~of].mean())

        on, off = _run("composition"), _run(None)
        for timepoint, over, under, published in (
            ("pre", "CD14 Mono", "CD16 Mono", np.log(0.19 / 0.46)),
            ("pre", "NK", "CD16 Mono", np.log(0.20 / 0.038)),
            ("post", "NK", "CD16 Mono", np.log(0.024 / 0.127)),
            ("pre", "CD4 TCM", "CD16 Mono", 0.0),
        ):
            moved = log_ratio(on, timepoint, over, under) - log_ratio(off, timepoint, over, under)
            assert moved == pytest.approx(published, abs=0.3), (timepoint, over)

    def test_populations_themselves_stay_as_they_are(self) -> None:
        on, off = _run("composition"), _run(None)
        for population in ("CD14 Mono", "NK"):
            means = [
                run.rna[run.truth.cells["population"] == population].mean(axis=0)
                for run in (on, off)
            ]
            seen = means[1] > 0.3
            assert np.abs(np.log(means[0][seen] / means[1][seen])).max() < 0.35


class TestRnaState:
    def test_only_effector_genes_of_carriers_move(self) -> None:
        on, off = _run("rna_state"), _run(None)
        changed = on.rna != off.rna
        rows, columns = np.nonzero(changed)
        assert set(columns) <= set(np.flatnonzero(on.genes("rna_state")))
        assert on.truth.cells["rna_state"].to_numpy()[rows].all()
        np.testing.assert_array_equal(on.cohort.protein, off.cohort.protein)
        pd.testing.assert_frame_equal(on.cohort.cells, off.cohort.cells)

    def test_groups_part_by_the_fold_change(self) -> None:
        on, off = _run("rna_state"), _run(None)
        carriers = on.truth.cells["rna_state"].to_numpy()
        level = [r.by_patient(r.rna[:, on.genes("rna_state")].sum(1), carriers) for r in (on, off)]
        up, down = _fold(level[0], level[1], on.complete)
        assert up == pytest.approx(np.log(1.5) / 2, abs=0.05)
        assert down == pytest.approx(-np.log(1.5) / 2, abs=0.05)


class TestProteinOnly:
    def test_only_cd39_of_cd16_monocytes_moves(self) -> None:
        on, off = _run("protein_only"), _run(None)
        assert (on.cohort.rna != off.cohort.rna).nnz == 0
        pd.testing.assert_frame_equal(on.cohort.chains, off.cohort.chains)
        cd39 = on.cohort.proteins.index("CD39")
        for a in range(61):
            same = np.array_equal(on.cohort.protein[:, a], off.cohort.protein[:, a])
            assert same == (a != cd39)
        carriers = on.truth.cells["protein_only"].to_numpy()
        assert set(on.cohort.cells["cell_type"][carriers]) == {"CD16 Mono"}
        level = [
            [r.by_patient(r.cohort.protein[:, cd39], cells) for r in (on, off)]
            for cells in (carriers, ~carriers)
        ]
        up, down = _fold(*level[0], on.complete)
        # Background counts do not move and dampen the published shift a little.
        assert down - up == pytest.approx(0.54 / 0.85, abs=0.12)
        assert up < -0.15 < 0.15 < down
        assert _fold(*level[1], on.complete) == pytest.approx((0, 0), abs=0.03)


class TestClonalExpansion:
    def test_before_infusion_nothing_moves(self) -> None:
        on, off = _run("clonal_expansion"), _run(None)
        before = ~on.after
        assert on.cohort.cells[before].equals(off.cohort.cells[~off.after])
        assert (on.cohort.rna[before] != off.cohort.rna[~off.after]).nnz == 0
        assert not (on.cohort.cells["cell_type"][before] == "CAR T").any()

    def test_car_t_cells_are_more_and_of_larger_clones(self) -> None:
        effects = Effects(**{m: float(m == "clonal_expansion") for m in MECHANISMS})
        cohort, truth = SimulatedCohort(
            30, 800, GENES, 2, 1.0, effects, StudyDesign(post_marrow=0.0)
        ).simulate()
        complete = cohort.patients["response"] == "CR"
        clones = truth.clones[truth.clones["n_car"] > 0].groupby("patient")["n_car"]
        cells = clones.sum().reindex(complete.index, fill_value=0)
        # Patients without any CAR T cell count with half a cell.
        fold = np.log(cells + 0.5).groupby(complete).median()
        assert fold[True] - fold[False] == pytest.approx(np.log(0.0124 / 0.0013), abs=0.7)
        largest = clones.max().reindex(complete.index, fill_value=0)
        assert largest[complete].median() >= 5 * max(largest[~complete].median(), 0.5)
        # Same number of cells, compared by the chance that two cells share a clone.
        shared = clones.agg(lambda n: (n * (n - 1)).sum() / max(n.sum() * (n.sum() - 1), 1))
        many = cells.index[cells >= 5]
        score = truth.patients["clonal_expansion"].loc[many]
        assert stats.spearmanr(score, shared.loc[many]).statistic > 0.4


class TestRarePopulation:
    def test_one_per_cent_of_cells_doubles_unseen_by_annotation(self) -> None:
        on, off = _run("rare_population"), _run(None)
        rare = on.truth.cells["rare_population"].to_numpy()
        assert set(on.cohort.cells["cell_type"][rare]) == {"CD8 TEM"}
        without = (off.truth.cells["population"] == "CD8 TEM rare").mean()
        assert without == pytest.approx(0.01, abs=0.004)
        assert rare.mean() == pytest.approx(0.01, abs=0.006)
        share = on.by_patient(rare, np.ones_like(rare))
        ratio = share[on.complete].mean() / share[~on.complete].mean()
        assert ratio == pytest.approx(2.0, abs=0.6)
        markers = on.rna[:, on.genes("rare_population")].sum(1)
        ordinary = (on.truth.cells["population"] == "CD8 TEM").to_numpy()
        assert markers[rare].mean() > 5 * markers[ordinary].mean()


class TestPreToPost:
    def test_the_change_differs_and_the_level_before_does_not(self) -> None:
        on, off = _run("pre_to_post"), _run(None)
        rows, columns = np.nonzero(on.rna != off.rna)
        assert set(columns) <= set(np.flatnonzero(on.genes("pre_to_post")))
        assert on.after[rows].all()
        assert set(on.cohort.cells["cell_type"].to_numpy()[rows]) == {"CD14 Mono"}
        np.testing.assert_array_equal(on.cohort.protein, off.cohort.protein)
        carriers = on.truth.cells["pre_to_post"].to_numpy()
        level = [
            r.by_patient(r.rna[:, on.genes("pre_to_post")].sum(1), carriers) for r in (on, off)
        ]
        up, down = _fold(level[0], level[1], on.complete)
        assert up - down == pytest.approx(np.log(1.5), abs=0.06)


class TestInteraction:
    def test_neither_modality_tells_and_both_together_do(self) -> None:
        on, off = _run("interaction"), _run(None)
        assert (on.cohort.rna != off.cohort.rna).nnz == 0
        for a, name in enumerate(on.cohort.proteins):
            same = np.array_equal(on.cohort.protein[:, a], off.cohort.protein[:, a])
            assert same == (name != "CD57")
        carriers = on.truth.cells["interaction"].to_numpy()
        cd57 = on.cohort.protein[:, on.cohort.proteins.index("CD57")]
        programme = on.rna[:, on.genes("interaction")].sum(1)
        high = cd57 > 80
        assert high[carriers].mean() == pytest.approx(0.5, abs=0.05)

        def separation(values: np.ndarray) -> float:
            score = on.by_patient(values, carriers)
            return float(roc_auc_score(on.complete.loc[score.index], score))

        assert separation(high) == pytest.approx(0.5, abs=0.16)
        assert separation(programme) == pytest.approx(0.5, abs=0.16)
        together = np.sign(high - 0.5) * (programme - programme[carriers].mean())
        assert separation(together) > 0.85
