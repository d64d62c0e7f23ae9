"""Clone features: their definitions by hand, and that nothing outside the bag can enter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import entropy

from recart.data.bags import Bags, Reading
from recart.data.clone_features import (
    CLONE_FEATURES,
    EXPANSION_CLASSES,
    clone_features,
    clone_size_of_cells,
    expansion_of,
)
from recart.data.store import CohortStore

DIVERSITY = [name for name in CLONE_FEATURES if not name.startswith("car_")]


def make_store(
    samples: Sequence[Sequence[int]],
    car: Sequence[int] | None = None,
    has_receptor: Sequence[bool] | None = None,
) -> CohortStore:
    """One patient per store; a sample is the list of the clones of its cells."""
    clone = np.array([c for sample in samples for c in sample], dtype=np.int32)
    sizes = [len(sample) for sample in samples]
    cells = pd.DataFrame(
        {"sample": np.repeat(np.arange(len(samples)), sizes), "patient": 0, "clone": clone}
    )
    if car is not None:
        cells["car_umi"] = car
    stop = np.cumsum(sizes)
    if has_receptor is None:
        has_receptor = [any(c >= 0 for c in sample) for sample in samples]
    table = pd.DataFrame(
        {"patient": 0, "start": stop - sizes, "stop": stop, "has_receptor": has_receptor},
        index=[f"S{i}" for i in range(len(samples))],
    )
    return CohortStore(
        rna=sparse.csr_matrix((len(cells), 1), dtype=np.uint16),
        genes=("G",),
        protein=None,
        proteins=(),
        protein_measured=np.zeros((len(samples), 0), dtype=np.bool_),
        cells=cells,
        samples=table,
        patients=pd.DataFrame(index=["P"]),
        receptor=None,
        clones=None,
        normalised=False,
        dropped={},
    )


def make_bags(store: CohortStore, of_samples: Sequence[Sequence[int]]) -> Bags:
    slices = tuple(tuple(store.sample_slice(s) for s in samples) for samples in of_samples)
    table = pd.DataFrame(
        {"patient": 0, "label": 1, "n_cells": [sum(s.stop - s.start for s in b) for b in slices]},
        index=[f"B{i}" for i in range(len(slices))],
    )
    return Bags(table=table, slices=slices)


def features(store: CohortStore, samples: Sequence[int] | None = None) -> pd.Series[float]:
    chosen = range(len(store.samples)) if samples is None else samples
    return clone_features(store, make_bags(store, [list(chosen)])).iloc[0]


def test_definitions_by_hand() -> None:
    # sizes over both samples: clone 0 has 4 cells, clone 1 has 2, clones 2 and 3 have 1
    store = make_store([[0, 0, 0, 1, 1, 2], [0, 3, -1, -1]], car=[1, 1, 0, 0, 0, 2, 0, 0, 1, 0])
    row = features(store)
    assert row["receptor_share"] == 8 / 10
    assert row["expanded_share"] == 6 / 8
    assert row["hyperexpanded_share"] == 0
    assert row["largest_clone_share"] == 4 / 8
    assert row["clone_shannon"] == pytest.approx(entropy([4, 2, 1, 1]))
    assert row["clone_simpson"] == pytest.approx((4 * 3 + 2 * 1) / (8 * 7))
    pairs = [abs(a - b) for a in (4, 2, 1, 1) for b in (4, 2, 1, 1)]
    assert row["clone_gini"] == pytest.approx(np.mean(pairs) / (2 * 2))
    assert row["clone_persistence"] == 1 / 2  # of clones 0 and 1, clone 0 is in both samples
    assert row["car_share"] == 4 / 10
    assert row["car_expanded_share"] == pytest.approx(2 / 3)


def test_hyperexpanded_begins_above_one_hundred() -> None:
    row = features(make_store([[0] * 100 + [1] * 101]))
    assert row["hyperexpanded_share"] == pytest.approx(101 / 201)


def test_one_large_clone_and_all_different() -> None:
    one, many = features(make_store([[7] * 5])), features(make_store([list(range(5))]))
    assert (one["clone_shannon"], one["clone_gini"], one["clone_simpson"]) == (0, 0, 1)
    assert many["clone_shannon"] == pytest.approx(np.log(5))
    assert (many["clone_gini"], many["clone_simpson"], many["expanded_share"]) == (0, 0, 0)
    assert np.isnan(many["clone_persistence"])


def test_samples_that_were_not_sequenced_are_not_zero() -> None:
    store = make_store([[0, 0, 1, -1], [-1, -1, -1]], car=[0] * 6 + [1])
    row = features(store)
    assert row["receptor_share"] == 3 / 4
    assert np.isnan(row["clone_persistence"])  # one sequenced sample has nothing to persist to
    assert row["car_share"] == 1 / 7
    nothing = features(store, [1])
    assert nothing[DIVERSITY].isna().all()
    assert nothing["car_share"] == 1 / 3
    assert np.isnan(nothing["car_expanded_share"])


def test_a_sequenced_sample_without_receptors_has_a_share_of_zero() -> None:
    row = features(make_store([[-1, -1]], has_receptor=[True]))
    assert row["receptor_share"] == 0
    assert row.drop("receptor_share").isna().all()


def test_without_car_counts_car_shares_are_missing() -> None:
    assert features(make_store([[0, 0]]))[["car_share", "car_expanded_share"]].isna().all()


def test_single_cell_bag() -> None:
    row = features(make_store([[3]]))
    assert row["largest_clone_share"] == 1
    assert np.isnan(row["clone_simpson"])


def test_sizes_are_counted_in_the_bag_alone() -> None:
    early, late = [0, 1, 2], [0] * 50 + [1] * 50
    alone = features(make_store([early]))
    beside = features(make_store([early, late]), [0])
    pd.testing.assert_series_equal(alone, beside)
    assert beside["expanded_share"] == 0


def test_rows_and_columns() -> None:
    store = make_store([[0, 0], [1, -1], [2, 2]])
    bags = make_bags(store, [[2], [0, 1]])
    table = clone_features(store, bags)
    assert table.columns.tolist() == list(CLONE_FEATURES)
    assert table.index.equals(bags.table.index)
    assert (table.dtypes == np.float64).all()
    pd.testing.assert_series_equal(table.iloc[0], features(store, [2]), check_names=False)


CLONES = st.lists(st.lists(st.integers(-1, 5), min_size=1, max_size=30), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(CLONES, st.integers(0, 2**32 - 1))
def test_names_of_clones_and_order_of_cells_change_nothing(
    samples: list[list[int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rename = np.append(rng.permutation(6) + 100, -1)
    other = [[int(rename[clone]) for clone in rng.permutation(sample)] for sample in samples]
    pd.testing.assert_series_equal(features(make_store(samples)), features(make_store(other)))


@settings(max_examples=60, deadline=None)
@given(CLONES)
def test_ranges(samples: list[list[int]]) -> None:
    row = features(make_store(samples)).dropna()
    shares = row.drop("clone_shannon", errors="ignore")
    assert ((shares >= 0) & (shares <= 1)).all()
    if "clone_shannon" in row:
        n_clones = len({clone for sample in samples for clone in sample if clone >= 0})
        assert 0 <= row["clone_shannon"] <= np.log(n_clones) + 1e-9
        assert row["largest_clone_share"] >= 1 / n_clones
        assert row["hyperexpanded_share"] <= row["expanded_share"]


def test_expansion_classes_at_their_bounds() -> None:
    sizes = [1, 2, 5, 6, 20, 21, 100, 101]
    clones = [clone for clone, size in enumerate(sizes) for _ in range(size)]
    store = make_store([[*clones, -1]])
    found = expansion_of(clone_size_of_cells(store, make_bags(store, [[0]])))
    first = [clones.index(clone) for clone in range(len(sizes))]
    names = [EXPANSION_CLASSES[code] for code in found[first]]
    assert names == ["1", "2-5", "2-5", "6-20", "6-20", "21-100", "21-100", ">100"]
    assert EXPANSION_CLASSES[found[-1]] == "none"
    assert found.dtype == np.int8


def test_expansion_counts_the_bag_and_leaves_other_cells_out() -> None:
    store = make_store([[0, 1], [0, 0, 0]])
    size = clone_size_of_cells(store, make_bags(store, [[0]]))
    assert expansion_of(size).tolist() == [1, 1, 0, 0, 0]
    with pytest.raises(ValueError, match="B1 shares cells"):
        clone_size_of_cells(store, make_bags(store, [[0], [0, 1]]))


def timed(
    samples: Sequence[Sequence[int]],
    days: Sequence[float],
    car: Sequence[int] | None = None,
    bcr: Sequence[int] | None = None,
) -> CohortStore:
    store = make_store(samples, car)
    cells = store.cells if bcr is None else store.cells.assign(bcr_clone=list(bcr))
    words = [f"t{day:g}" for day in days]
    table = store.samples.assign(day=list(days), timepoint=words)
    return replace(store, cells=cells, samples=table)


def test_clones_carried_from_product_into_later_samples() -> None:
    # the order of the samples in the store is not that of their days
    store = timed([[0, 0, 5, -1], [0, 1, 1, 2], [1, 6, 6]], [30, -20, 60])
    row = features(store)
    assert row["clone_carried"] == pytest.approx(2 / 3)  # 0 and 1 of 0, 1, 2
    assert row["carried_share"] == pytest.approx(3 / 6)  # 0, 0, 1 of 0, 0, 5, 1, 6, 6
    later = features(store, [0, 2])
    assert np.isnan(later["clone_carried"])  # nothing is known from before infusion
    product = timed([[0, 5], [6, 6]], [0, 60])
    assert features(product)["clone_carried"] == 0  # of 0 and 5 none is in the last sample
    assert np.isnan(features(store, [1])["clone_carried"])
    same_day = timed([[0, 0], [0, 1]], [5, 5])
    assert np.isnan(features(same_day)["clone_carried"])
    unknown = timed([[0, 0], [0, 1]], [5, np.nan])
    assert np.isnan(features(unknown)["clone_carried"])


def test_given_stages_order_what_days_do_not() -> None:
    store = timed([[0, 1], [0, 0, 0, 7]], [np.nan, 3])
    bags = make_bags(store, [[0, 1]])
    forth = replace(bags, reading=Reading(stages=("tnan", "t3")))
    back = replace(bags, reading=Reading(stages=("t3", "tnan")))
    assert clone_features(store, forth).iloc[0]["carried_share"] == 3 / 4
    assert clone_features(store, back).iloc[0]["carried_share"] == 1 / 2


def test_a_sample_that_was_not_sequenced_is_not_the_first() -> None:
    store = timed([[-1, -1], [0, 1], [1, 1]], [-50, 0, 30])
    row = features(store)
    assert (row["clone_carried"], row["carried_share"]) == (1 / 2, 1)


def test_car_share_of_the_largest_clones() -> None:
    # twelve clones of 2 cells tie for ten places: all enter; singletons never do
    clones = [c for c in range(12) for _ in range(2)] + [50, 51]
    car = [1, 0] * 12 + [1, 1]
    assert features(make_store([clones], car))["car_top_share"] == 1 / 2
    one = features(make_store([[0] * 5 + [1] * 3], [1, 1, 0, 0, 0, 1, 1, 1]))
    assert one["car_top_share"] == 5 / 8
    assert np.isnan(features(make_store([[0, 1, 2]], [1, 1, 1]))["car_top_share"])


def test_b_cell_clones_are_counted_apart() -> None:
    t_cells = [[0, 0, 0, -1, -1, -1], [1, -1, -1]]
    b_cells = [-1, -1, -1, 0, 0, 1, -1, 0, -1]
    store = timed(t_cells, [-10, 20], bcr=b_cells)
    row = features(store)
    assert row["bcr_share"] == 4 / 9
    assert row["bcr_largest_clone_share"] == 3 / 4
    assert row["bcr_expanded_share"] == 3 / 4
    assert row["bcr_clone_shannon"] == pytest.approx(entropy([3, 1]))
    assert row["bcr_clone_simpson"] == pytest.approx(1 / 2)  # three of six pairs
    assert row["bcr_hyperexpanded_share"] == 0
    assert row["bcr_clone_burden"] == pytest.approx(3 / 9)  # of all cells, T cells and others too
    assert row["bcr_clone_persistence"] == 1
    assert (row["bcr_clone_carried"], row["bcr_carried_share"]) == (1 / 2, 1)
    assert row["largest_clone_share"] == 3 / 4
    assert row["receptor_share"] == 4 / 9
    without = features(timed(t_cells, [-10, 20], bcr=[-1] * 9))
    of_b_cells = [name for name in CLONE_FEATURES if name.startswith("bcr_")]
    assert without[of_b_cells].isna().all()


def test_a_sequenced_sample_without_a_b_cell_counts_as_none_left() -> None:
    cleared = timed([[-1] * 5, [-1] * 5], [-10, 20], bcr=[0, 0, -1, -1, -1, *[-1] * 5])
    unknown = features(cleared)
    assert (unknown["bcr_share"], unknown["bcr_clone_burden"]) == (2 / 5, 2 / 5)
    assert np.isnan(unknown["bcr_carried_share"])
    said = replace(cleared, samples=cleared.samples.assign(has_bcr=["Yes", "1"]))
    known = features(said)
    assert (known["bcr_share"], known["bcr_clone_burden"]) == (2 / 10, 2 / 10)
    assert known["bcr_clone_persistence"] == 0
    after = features(said, [1])
    assert (after["bcr_share"], after["bcr_clone_burden"]) == (0, 0)
    assert np.isnan(after["bcr_clone_shannon"])
    assert np.isnan(features(cleared, [1])["bcr_share"])


def test_of_b_cells_all_is_counted_that_is_of_t_cells_but_what_the_car_tells() -> None:
    kinds = {name for name in CLONE_FEATURES if not name.startswith(("bcr_", "car_"))}
    of_b_cells = {f"bcr_{name}" for name in kinds - {"receptor_share"}} | {"bcr_share"}
    own = {name for name in CLONE_FEATURES if name.startswith("bcr_")}
    assert own == of_b_cells | {"bcr_clone_burden"}
    large = features(timed([[-1] * 108], [0], bcr=[0] * 101 + [1] * 3 + [-1] * 4))
    assert large["bcr_hyperexpanded_share"] == 101 / 104
    assert large["bcr_clone_burden"] == pytest.approx(101 / 108)
