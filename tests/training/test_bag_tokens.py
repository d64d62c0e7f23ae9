"""Time point, tissue and CAR status of each cell of a bag, as heads are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recart.data.bag_features import bag_features
from recart.data.bags import Admission, Bags, Reading, make_bags
from recart.data.features import BoundFeatures, FeatureChoice, bind
from recart.data.part_of_store import without_patients
from recart.data.store import CohortStore
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.rna import NegativeBinomial
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack
from recart.training.bag_latents import bag_latents
from recart.training.heads import BagLatents, Token

MakeStore = Callable[..., CohortStore]
TRAIN = (0, 1, 2)
READING = Reading(marker_genes=("GENE2",), covariates=("age",))


@pytest.fixture
def store(make_store: MakeStore) -> CohortStore:
    """Two samples a patient; patient 1 lacks the later one's day rank to others: it is marrow."""
    made = make_store(patients=5, cells=60)
    rng = np.random.default_rng(0)
    words = np.tile(["zz before", "after"], 5)
    tissue = np.array(["PB"] * 10, dtype=object)
    tissue[3], tissue[9] = "BM", None
    days = made.samples["day"].to_numpy() + rng.integers(-5, 5, 10)
    return replace(
        made,
        cells=made.cells.assign(car_umi=rng.poisson(0.5, len(made.cells))),
        samples=made.samples.assign(timepoint=words, tissue=tissue, day=days),
        patients=made.patients.assign(age=[50.0, 60, np.nan, 70, 80]),
    )


@pytest.fixture
def stack() -> TotalVIStack:
    sizes = Sizes(genes=20, proteins=7, receptor=6, batches=(3,))
    return TotalVI(4, 16, JointEncoder(2), 1, 0.2, Masking(0.1), NegativeBinomial()).stack(
        sizes, [5]
    )


def bound_to(store: CohortStore) -> BoundFeatures:
    cells = np.flatnonzero(store.cells["patient"].isin(TRAIN))
    return bind(FeatureChoice(n_genes=20, exclude=[], prior_cells=5).fit(store, cells, 0), store)


def bags_of(store: CohortStore, reading: Reading = READING, day: float | None = None) -> Bags:
    labels = pd.Series(1.0, index=store.patients.index)
    return make_bags(
        store, labels, unit="patient", admission=Admission(decision_day=day), reading=reading
    )


def seen(
    stack: TotalVIStack, bound: BoundFeatures, store: CohortStore, bags: Bags, rows: list[int]
) -> BagLatents:
    return bag_latents(stack, bound, store, bags, rows, bag_features(store, bags))


def test_cells_of_each_stage_are_found(stack: TotalVIStack, store: CohortStore) -> None:
    bags = bags_of(store)
    own = seen(stack, bound_to(store), store, bags, [0, 1, 4])
    assert own.tokens[0] == Token("zz before", 0, "", "-") or own.tokens[0].stage == 0
    assert {token.stage for token in own.tokens} == {0, 1}
    for bag, codes, latents in zip([0, 1, 4], own.token_of_cell, own.latents, strict=True):
        cells = bags.cells([bag])
        assert len(codes) == len(latents) == len(cells)
        of_cell = [own.tokens[code] for code in codes]
        samples = store.samples.iloc[store.cells["sample"].to_numpy()[cells]]
        assert [t.timepoint for t in of_cell] == list(samples["timepoint"])
        assert [t.stage for t in of_cell] == [int(day > 0) for day in samples["day"]]
        assert [t.tissue for t in of_cell] == ["" if t is None else t for t in samples["tissue"]]
        umi = store.cells["car_umi"].to_numpy()[cells]
        assert [t.car for t in of_cell] == ["+" if count else "-" for count in umi]
    # a delta of a paired patient: mean after less mean before, by the tokens alone
    stage = np.array([token.stage for token in own.tokens])[own.token_of_cell[0]]
    first = store.sample_slice(0)
    size = first.stop - first.start
    delta = own.latents[0][stage == 1].mean(0) - own.latents[0][stage == 0].mean(0)
    np.testing.assert_allclose(
        delta, own.latents[0][size:].mean(0) - own.latents[0][:size].mean(0), rtol=1e-6
    )


def test_only_samples_on_or_before_the_decision_have_cells(
    stack: TotalVIStack, store: CohortStore
) -> None:
    own = seen(stack, bound_to(store), store, bags_of(store, day=0), [0, 1, 2])
    assert {token.timepoint for token in own.tokens} == {"zz before"}


def test_without_a_transgene_and_time_there_is_one_plain_token(
    stack: TotalVIStack, store: CohortStore
) -> None:
    plain = replace(
        store,
        cells=store.cells.drop(columns="car_umi"),
        samples=store.samples.drop(columns=["timepoint", "tissue", "day"]),
    )
    own = seen(stack, bound_to(plain), plain, bags_of(plain), [0, 1])
    assert list(own.tokens) == [Token("", 0, "", "")]
    assert all((codes == 0).all() for codes in own.token_of_cell)


def test_given_stages_win_over_days(stack: TotalVIStack, store: CohortStore) -> None:
    reading = replace(READING, stages=("after", "zz before"))
    own = seen(stack, bound_to(store), store, bags_of(store, reading), [0])
    assert {(t.timepoint, t.stage) for t in own.tokens} == {("after", 0), ("zz before", 1)}


def test_nothing_of_a_held_out_patient_shapes_what_development_bags_say(
    stack: TotalVIStack, store: CohortStore
) -> None:
    """Their days would turn the order, their words would be tokens."""
    samples = store.samples.copy()
    held_out = (samples["patient"] > 2).to_numpy()
    samples.loc[held_out, "day"] = np.where(
        samples.loc[held_out, "timepoint"] == "after", -1e6, 1e6
    )
    samples.loc[samples.index[6], "timepoint"] = "a new word"
    changed = replace(store, samples=samples)
    before = seen(stack, bound_to(store), store, bags_of(store), list(TRAIN))
    after = seen(stack, bound_to(changed), changed, bags_of(changed), list(TRAIN))
    gone = without_patients(store, [3, 4])
    alone = seen(stack, bound_to(gone), gone, bags_of(gone), list(TRAIN))
    for other in (after, alone):
        assert list(other.tokens) == list(before.tokens)
        assert other.marker_names == before.marker_names
        np.testing.assert_array_equal(other.extras, before.extras)
        for name in ("latents", "token_of_cell", "markers"):
            pairs = zip(getattr(before, name), getattr(other, name), strict=True)
            for one, two in pairs:
                np.testing.assert_array_equal(one, two)
    # and they are seen by the order of those that were trained on, their new words last
    unseen = seen(stack, bound_to(changed), changed, bags_of(changed), [3, 4])
    stages = {token.timepoint: token.stage for token in unseen.tokens}
    assert stages == {"zz before": 0, "after": 1, "a new word": 2}


def test_a_new_patient_alone_is_described_as_in_company(
    stack: TotalVIStack, store: CohortStore
) -> None:
    bound = bound_to(store)
    company = seen(stack, bound, store, bags_of(store), [3])
    new = without_patients(store, [0, 1, 2, 4])
    alone = seen(stack, bind(bound.features, new), new, bags_of(new), [0])
    assert list(alone.tokens) == list(company.tokens)
    assert list(alone.extra_groups) == list(company.extra_groups)
    assert alone.extra_groups[-1] == "covariates"
    np.testing.assert_array_equal(alone.extras, company.extras)
    np.testing.assert_array_equal(alone.token_of_cell[0], company.token_of_cell[0])
    np.testing.assert_array_equal(alone.markers[0], company.markers[0])
    np.testing.assert_array_equal(alone.latents[0], company.latents[0])


def test_members_share_the_markers(stack: TotalVIStack, store: CohortStore) -> None:
    bags, bound = bags_of(store), bound_to(store)
    one, other = (seen(stack, bound, store, bags, [0, 2]) for _ in range(2))
    assert one.markers[1] is other.markers[1]
    assert one.markers[1].shape == (len(one.latents[1]), len(one.marker_names))
    assert one.markers[1].dtype == one.latents[1].dtype == np.float32


def test_a_bag_of_one_sample_does_not_tell_its_time_or_tissue(
    stack: TotalVIStack, store: CohortStore
) -> None:
    """They may be what is predicted, and are the same for all cells of such a bag."""
    labels = pd.Series(np.arange(len(store.samples)) % 2, dtype=float)
    bags = make_bags(store, labels, unit="sample", admission=Admission(), reading=READING)
    own = seen(stack, bound_to(store), store, bags, [0, 1, 2])
    assert {token[:3] for token in own.tokens} == {("", 0, "")}
    assert {token.car for token in own.tokens} == {"-", "+"}
