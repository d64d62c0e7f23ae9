"""Whether the design gives the label away: by every level, all but a few, or any of the samples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recart.data.bags import Bags
from recart.data.store import CohortStore
from recart.evaluation.alignment import aligned_columns, aligned_design, design_of
from recart.evaluation.baselines import BatchOnly


def with_samples(made: tuple[CohortStore, Bags], **columns: list[list[str]]) -> Any:
    """Each patient's cells cut into samples; `columns` are values by patient, then by sample."""
    store, bags = made
    per_patient = len(next(iter(columns.values()))[0])
    patients, cells = len(store.patients), len(store.cells)
    size = cells // patients // per_patient
    number = np.minimum(np.arange(cells) // size, patients * per_patient - 1)
    samples = pd.DataFrame(
        {
            "patient": np.repeat(np.arange(patients), per_patient),
            **{name: [v for own in values for v in own] for name, values in columns.items()},
        },
        index=[f"S{i}" for i in range(patients * per_patient)],
    )
    store = replace(store, samples=samples, cells=store.cells.assign(sample=number))
    slices = tuple(
        tuple(
            slice(s * size, (s + 1) * size) for s in range(p * per_patient, (p + 1) * per_patient)
        )
        for p in range(patients)
    )
    return store, replace(bags, slices=slices)


def test_aligned_columns_are_found() -> None:
    y = [0, 0, 0, 0, 1, 1, 1, 1]
    columns = pd.DataFrame(
        {"site": list("aabbccdd"), "batch": list("xyxyxyxy"), "id": list("01234567")}
    )
    found = aligned_columns(columns, y)
    assert len(found) == 1
    assert "Column site" in found[0]
    assert "4 levels" in found[0]


@pytest.mark.parametrize(("exceptions", "aligned"), [(0, True), (1, True), (5, False)])
def test_few_exceptions_do_not_clear_a_site(
    make_cohort: Any, exceptions: int, aligned: bool
) -> None:
    site = [["A"] if p % 2 == 0 else ["B"] for p in range(40)]
    for p in range(exceptions):
        site[2 * p] = ["B"]
    found = aligned_design(*with_samples(make_cohort(patients=40, cells=4), site=site))
    assert bool(found) is aligned
    assert all("Column site" in sentence for sentence in found)
    assert len(found) <= 1


def test_a_site_of_the_patients_counts(make_cohort: Any) -> None:
    """A table of patients is where a site or a product stands by nature."""
    store, bags = make_cohort(patients=24, cells=4)
    sites = ["A" if p % 2 == 0 else "B" for p in range(24)]
    store = replace(store, patients=store.patients.assign(site=sites))
    (found,) = aligned_design(store, bags)
    assert "Column site is aligned" in found
    logits = BatchOnly().fit_predict(store, bags, np.arange(18), np.arange(18, 24), seed=0).held_out
    assert (np.sign(logits) == [1, -1, 1, -1, 1, -1]).all()


def test_a_library_a_patient_is_no_class(make_cohort: Any) -> None:
    """Of samples as bags: each library holds one class because it holds one patient."""
    library = [[f"L{p}", f"L{p}"] for p in range(24)]
    store, bags = with_samples(make_cohort(cells=8), batch=library)
    table = bags.table.loc[bags.table.index.repeat(2)].set_axis(store.samples.index)
    own = replace(bags, table=table, slices=tuple((s,) for both in bags.slices for s in both))
    assert aligned_design(store, own) == []


def test_small_levels_of_one_class_may_be_chance(make_cohort: Any) -> None:
    """Cramer's V is 1, and every twentieth shuffle has as much: four pairs, four alone."""
    level = {0: "a", 2: "a", 1: "b", 3: "b", 4: "c", 6: "c", 5: "d", 7: "d"}
    batch = [[level.get(p, f"own{p}")] for p in range(12)]
    assert aligned_design(*with_samples(make_cohort(patients=12, cells=4), batch=batch)) == []


def test_the_batch_of_a_later_sample_counts(make_cohort: Any) -> None:
    """First samples lie in batches of two patients of both classes; the second ones tell."""
    batch = [[f"first{p // 2}", "late" if p % 2 == 0 else "early"] for p in range(24)]
    store, bags = with_samples(make_cohort(cells=8), batch=batch)
    (found,) = aligned_design(store, bags)
    assert "whether a patient has a sample at one of its levels" in found
    # the levels of neither sample are named
    assert "late" not in found
    assert design_of(store, bags, np.array([0])).loc[0, "batch"] == "first0 | late"
    mixed = [[own[0], "late" if p % 3 == 0 else "early"] for p, own in enumerate(batch)]
    assert aligned_design(*with_samples(make_cohort(cells=8), batch=mixed)) == []


def test_cohorts_by_chance_are_not_refused(make_cohort: Any) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        levels = rng.integers(0, 5, (24, 2)).astype(str).tolist()
        assert aligned_design(*with_samples(make_cohort(cells=4), batch=levels)) == []
