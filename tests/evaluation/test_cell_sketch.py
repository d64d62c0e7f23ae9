"""Patients are known again by their cells, whatever is chosen about the cohort; others are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest

from recart.data.checks import Limits
from recart.data.cohort import Cohort
from recart.data.prepare import Endpoint, Preparation, content_key, read_checked, to_store
from recart.data.pseudonyms import Pseudonyms
from recart.data.readers.reader import Reader
from recart.data.receptors.none import NoReceptor
from recart.data.receptors.physicochemical import Physicochemical
from recart.data.simulate import SimulatedCohort
from recart.evaluation.cell_sketch import cell_sketch, known_again

PATIENTS = 8


@final
@dataclass
class Given(Reader):
    """A cohort that is there already."""

    cohort: Cohort

    def read(self) -> Cohort:
        return self.cohort

    def files(self) -> Sequence[Path]:
        return [Path("nowhere")]


def simulated(seed: int) -> Cohort:
    return SimulatedCohort(patients=PATIENTS, cells_per_sample=40, genes=200, seed=seed).read()


def sketched(cohort: Cohort, folder: Path, **settings: Any) -> tuple[str, list[str]]:
    """The key of the prepared cohort, and the sketches of its patients."""
    preparation = Preparation(
        reader=Given(cohort),
        endpoint=Endpoint(
            column="response", positive=["CR"], negative=["nonCR"], exclude=[], unit="patient"
        ),
        car_genes=[],
        normalised=False,
        limits=Limits(min_cells=10, min_per_class=2),
        receptors=Physicochemical(),
        folder=folder,
        in_memory=True,
        reread=True,
    )
    preparation = replace(preparation, **settings)
    checked = read_checked(preparation, lambda _: None)
    store = to_store(checked, preparation, Pseudonyms(preparation.folder / "pseudonym.key"))
    return content_key(checked, preparation), cell_sketch(store, range(len(store.patients)))


def test_choices_of_modelling_make_no_new_patients(tmp_path: Path) -> None:
    cohort = simulated(0)
    renamed = replace(
        cohort,
        patients=cohort.patients.rename(index="Mx {}".format),
        samples=cohort.samples.assign(patient=cohort.samples["patient"].map("Mx {}".format)),
    )
    smallest = cohort.cells["sample"].value_counts().min()
    car = [name for name in cohort.genes.index if "CAR" in name.upper()][:1]
    assert car
    key, own = sketched(cohort, tmp_path)
    others = [
        sketched(cohort, tmp_path, receptors=NoReceptor()),
        sketched(cohort, tmp_path, car_genes=car),
        sketched(cohort, tmp_path, limits=Limits(min_cells=smallest + 1, min_per_class=1)),
        sketched(replace(cohort, patients=cohort.patients.assign(note="x")), tmp_path),
        sketched(renamed, tmp_path),
        sketched(cohort, tmp_path / "another key"),
    ]
    assert len({key, *(other for other, _ in others)}) == 1 + len(others)
    for _, other in others:
        assert known_again(other, own) == len(other) > 0.8 * PATIENTS


def test_half_of_the_cells_are_enough(tmp_path: Path) -> None:
    cohort = simulated(0)
    kept = np.random.default_rng(0).random(len(cohort.cells)) < 0.5
    cells = cohort.cells[kept]
    assert cohort.chains is not None
    assert cohort.protein is not None
    half = replace(
        cohort,
        rna=cohort.rna[np.flatnonzero(kept)],
        protein=cohort.protein[kept],
        cells=cells,
        chains=cohort.chains[cohort.chains["cell"].isin(cells.index)],
    )
    assert known_again(sketched(half, tmp_path)[1], sketched(cohort, tmp_path)[1]) >= PATIENTS - 1


def test_other_patients_of_the_same_names_are_others(tmp_path: Path) -> None:
    own, other = simulated(0), simulated(1)
    same = dict(zip(other.patients.index, own.patients.index, strict=True))
    other = replace(
        other,
        patients=other.patients.rename(index=same),
        samples=other.samples.assign(patient=other.samples["patient"].map(same)),
    )
    (_, first), (_, second) = sketched(own, tmp_path), sketched(other, tmp_path)
    assert known_again(second, first) == 0
    assert known_again(first[:4], first[4:]) == 0


@pytest.mark.parametrize("seeds", [(0, 0), (0, 1)])
def test_cells_without_rna_are_told_by_their_proteins(make_cohort: Any, seeds: Any) -> None:
    sketches = []
    for seed in seeds:
        store, _ = make_cohort(patients=4, seed=seed, proteins=12)
        cells = store.cells.assign(n_counts=0, n_genes=0, pct_mito=0.0)
        sketches.append(cell_sketch(replace(store, genes=(), cells=cells), range(4)))
    assert known_again(*sketches) == (4 if len(set(seeds)) == 1 else 0)
