"""A part of a store is what the store would have been without the rest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from recart.data.part_of_store import first_cells, without_patients
from recart.data.store import CohortStore

MakeStore = Callable[..., CohortStore]


def test_patients_that_are_left_keep_all_that_is_theirs(make_store: MakeStore) -> None:
    whole = make_store(patients=6)
    part = without_patients(whole, [0, 3])
    assert list(part.patients.index) == list(whole.patients.index[[1, 2, 4, 5]])
    assert list(part.samples["patient"]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert (part.clones["patient"].to_numpy() == np.repeat(np.arange(4), 5)).all()
    for sample in part.samples.index:
        new = part.sample_slice(part.samples.index.get_loc(sample))
        old = whole.sample_slice(whole.samples.index.get_loc(sample))
        assert (part.rna[new] != whole.rna[old]).nnz == 0
        np.testing.assert_array_equal(part.protein[new], whole.protein[old])
        kept = ["source", "n_counts", "n_genes"]
        pd.testing.assert_frame_equal(
            part.cells.iloc[new][kept].reset_index(drop=True),
            whole.cells.iloc[old][kept].reset_index(drop=True),
        )
        clone, before = (own.cells["clone"].to_numpy() for own in (part, whole))
        assert ((clone[new] >= 0) == (before[old] >= 0)).all()
        has = clone[new] >= 0
        np.testing.assert_array_equal(
            part.receptor[clone[new][has]], whole.receptor[before[old][has]]
        )


@pytest.mark.parametrize("count", [7, 10_000, None])
def test_the_first_cells_of_each_sample(make_store: MakeStore, count: int | None) -> None:
    whole = make_store(patients=4)
    part = first_cells(whole, count)
    most = 10_000 if count is None else count
    for i in range(len(whole.samples)):
        old, new = whole.sample_slice(i), part.sample_slice(i)
        length = min(most, old.stop - old.start)
        assert new.stop - new.start == length
        assert (part.rna[new] != whole.rna[old.start : old.start + length]).nnz == 0
    assert len(part.cells) == part.rna.shape[0] == len(part.protein)


def test_the_first_cells_do_not_depend_on_other_patients(make_store: MakeStore) -> None:
    whole = make_store(patients=5)
    one = without_patients(first_cells(whole, 9), [2])
    other = first_cells(without_patients(whole, [2]), 9)
    assert (one.rna != other.rna).nnz == 0
    pd.testing.assert_frame_equal(one.cells, other.cells)
    pd.testing.assert_frame_equal(one.samples, other.samples)
