"""Covariates: what they mean is written down, and what is known late or of others never enters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recart.data.bag_features import bag_features, feature_group
from recart.data.bags import Admission, Bags, Reading, make_bags
from recart.data.covariates import check_covariates, check_of_new, covariates
from recart.data.store import CohortStore
from recart.problems import InputError
from recart.training.cohort_setup import outcome_bags
from recart.training.endpoints import Endpoint, OrdinalEndpoint, SeveralEndpoints, SurvivalEndpoint

MakeStore = Callable[..., CohortStore]


@pytest.fixture
def store(make_store: MakeStore) -> CohortStore:
    """Four patients with two samples each, on days -30 and 30."""
    made = make_store(patients=4)
    patients = made.patients.assign(
        age=[60, 71, np.nan, 55],
        product=["cilta", "ide", None, "ide"],
        bridging=["yes", "No", None, "y"],
        stage=[1.0, 2.0, 3.0, np.nan],
        ferritin=[100.0, 200.0, 300.0, 400.0],
        ferritin_day=[-5.0, 20.0, -1.0, np.nan],
    )
    samples = made.samples.assign(
        **{
            "gate:CD4": [0.2, 0.4, np.nan, 0.6, np.nan, np.nan, 0.1, 0.3],
            "flow": ["a", "b", "b", "b", None, None, "a", "a"],
        }
    )
    return replace(made, patients=patients, samples=samples)


def _bags(
    store: CohortStore, names: Sequence[str] = (), day: float | None = None, unit: str = "patient"
) -> Bags:
    index = store.patients.index if unit == "patient" else store.samples.index
    labels = pd.Series(np.arange(len(index)) % 2, index=index, dtype=float)
    return make_bags(
        store,
        labels,
        unit=unit,
        admission=Admission(decision_day=day),
        reading=Reading(covariates=tuple(names)),
    )


def test_numbers_words_and_levels(store: CohortStore) -> None:
    names = ["age", "bridging", "product=ide", "stage=2"]
    table = covariates(store, _bags(store), names)
    np.testing.assert_array_equal(
        table,
        [
            [60, 1, 0, 0],
            [71, 0, 1, 1],
            [np.nan, np.nan, np.nan, 0],
            [55, 1, 1, np.nan],
        ],
    )
    assert list(table.columns) == names


def test_samples_are_averaged_over_those_that_were_measured_and_admitted(
    store: CohortStore,
) -> None:
    both = covariates(store, _bags(store), ["gate:CD4", "flow=b"])
    np.testing.assert_allclose(both["gate:CD4"], [0.3, 0.6, np.nan, 0.2])
    np.testing.assert_allclose(both["flow=b"], [0.5, 1, np.nan, 0])
    before = covariates(store, _bags(store, day=0), ["gate:CD4"])
    np.testing.assert_allclose(before["gate:CD4"], [0.2, np.nan, np.nan, 0.1])
    of_samples = covariates(store, _bags(store, unit="sample"), ["gate:CD4", "age"])
    np.testing.assert_array_equal(of_samples["gate:CD4"], store.samples["gate:CD4"])
    np.testing.assert_array_equal(of_samples["age"], [60, 60, 71, 71, np.nan, np.nan, 55, 55])


def test_what_was_known_after_the_decision_is_refused_and_never_read(store: CohortStore) -> None:
    bags = _bags(store, ["ferritin"], day=0)
    read = covariates(store, bags, ["ferritin"])["ferritin"]
    np.testing.assert_array_equal(read, [100, np.nan, 300, 400])
    with pytest.raises(InputError, match="E-COV-003") as error:
        check_covariates(store, bags, "response")
    assert error.value.problems[0].count == 1
    later = _bags(store, ["ferritin"], day=25)
    check_covariates(store, later, "response")
    np.testing.assert_array_equal(covariates(store, later, ["ferritin"])["ferritin"].iloc[1], 200)


def test_a_late_value_of_a_sample_that_does_not_enter_is_no_problem(store: CohortStore) -> None:
    samples = store.samples.assign(crp=1.0, crp_day=store.samples["day"])
    own = replace(store, samples=samples)
    bags = _bags(own, ["crp"], day=0)
    assert (samples["crp_day"] > 0).any()
    check_covariates(own, bags, "response")
    late = replace(store, samples=samples.assign(crp_day=samples["day"] + 60))
    with pytest.raises(InputError, match="E-COV-003") as error:
        check_covariates(late, bags, "response")
    assert error.value.problems[0].count == (samples["day"] <= 0).sum()


def test_a_name_given_twice_and_a_level_that_nobody_has_are_refused(store: CohortStore) -> None:
    with pytest.raises(InputError) as error:
        check_covariates(store, _bags(store, ["age", "product=cilt", "age"]), "response")
    found = {(p.code, p.column): p for p in error.value.problems}
    assert set(found) == {("E-COV-005", "age"), ("E-COV-006", "product=cilt")}
    assert found["E-COV-006", "product=cilt"].mend.startswith("nearest: cilta")


def test_new_patients_lack_covariates_but_have_none_that_cannot_be_read(
    store: CohortStore,
) -> None:
    patients = store.patients.assign(stage=np.nan).drop(columns="ferritin")
    fewer = replace(store, patients=patients)
    assert check_of_new(fewer, ["age", "stage", "ferritin", "product=other"]) == ["ferritin"]
    words = replace(store, patients=store.patients.assign(age=["58.0 y", 1, 2, 3]))
    with pytest.raises(InputError, match=r"E-COV-002 column=age count=1 first: 58\.0 y"):
        check_of_new(words, ["stage", "age"])


def test_a_level_spelt_otherwise_is_no_other_level(store: CohortStore) -> None:
    def named(*values: object) -> CohortStore:
        return replace(store, patients=store.patients.assign(product=list(values)))

    unlike = named("cilta-cel", "Cilta-cel", "CILTA\u2011CEL", "ide-cel")
    for check in (
        lambda: check_of_new(unlike, ["product=cilta-cel"]),
        lambda: check_covariates(unlike, _bags(unlike, ["product=cilta-cel"]), "response"),
    ):
        with pytest.raises(InputError, match="E-COV-007 column=product=cilta-cel count=2") as error:
            check()
        assert error.value.problems[0].mend.endswith(": cilta-cel")
    assert set(error.value.problems[0].examples) == {"Cilta-cel", "CILTA\u2011CEL"}
    with pytest.raises(InputError, match="E-COV-007"):
        check_of_new(named("Cilta-cel", "cilta_cel", None, "ciltacel"), ["product=cilta-cel"])
    # others than the level, and a level that no new patient has
    assert check_of_new(named("ide-cel", "liso-cel", None, "tecartus"), ["product=cilta-cel"]) == []
    for level, others in (
        ("12", ["1-2", "-12"]),
        ("CD19+", ["CD19-", "CD19"]),
        ("II", ["I", "I I I"]),
    ):
        assert check_of_new(named(level, *others, None), [f"product={level}"]) == []


def test_all_problems_at_once(store: CohortStore) -> None:
    names = ["agee", "product", "response", "start", "response=R"]
    with pytest.raises(InputError) as error:
        check_covariates(store, _bags(store, names), "response")
    found = {(p.code, p.column) for p in error.value.problems}
    assert found == {
        ("E-COV-001", "agee"),
        ("E-COV-002", "product"),
        ("E-COV-002", "response"),
        ("E-COV-004", "response"),
        ("E-COV-001", "start"),
        ("E-COV-004", "response=R"),
    }
    mend = next(p.mend for p in error.value.problems if p.column == "product")
    assert "product=cilta" in mend


def test_a_twin_of_the_endpoint_is_refused(make_store: MakeStore) -> None:
    made = make_store(patients=16, cells=6)
    twin = made.patients.assign(relapsed=np.where(np.arange(16) % 2, "no", "yes"), age=range(16))
    store = replace(made, patients=twin)
    with pytest.raises(InputError, match="gives the endpoint away"):
        check_covariates(store, _bags(store, ["relapsed"]), "response")
    of_samples = made.samples.assign(relapsed=twin["relapsed"].repeat(2).to_numpy())
    with pytest.raises(InputError, match="gives the endpoint away"):
        check_covariates(replace(made, samples=of_samples), _bags(made, ["relapsed"]), "response")
    mixed = replace(made, patients=twin.assign(relapsed=["yes", "yes", "no", "no"] * 4))
    check_covariates(mixed, _bags(mixed, ["relapsed"]), "response")


LEVELS = ["PD", "SD", "PR", "CR"]
ORDINAL = OrdinalEndpoint(column="best", levels=LEVELS, cut="PR", exclude=["NE"])
SURVIVAL = SurvivalEndpoint(time="months", event="died", months=[6.0], landmark=6.0)


def _refused(store: CohortStore, outcome: Endpoint, *names: str) -> dict[str, str]:
    """By covariate, what is said of it."""
    bags = outcome_bags(store, outcome, "patient", Admission(), Reading(covariates=names))
    try:
        check_covariates(store, bags, outcome.columns[0])
    except InputError as error:
        return {p.column: f"{p.code} {p.what}" for p in error.problems}
    return {}


@pytest.fixture
def of_outcomes(make_store: MakeStore) -> CohortStore:
    """24 patients with a level each, times and events, and covariates of chance."""
    made, rng = make_store(patients=24, cells=6), np.random.default_rng(0)
    best = np.repeat([*LEVELS, "NE"], [5, 5, 6, 6, 2])
    patients = made.patients.assign(
        best=best,
        grade=np.where(rng.random(24) < 0.5, "0", "2"),
        months=rng.uniform(1, 10, 24),
        died=np.arange(24) % 2,
        deep=np.where(np.isin(best, ["PR", "CR"]), "yes", "no"),
        dead=np.where(np.arange(24) % 2, "yes", "no"),
        age=rng.permutation(24) + 50,
        lines=rng.integers(1, 7, 24),
        sex=rng.choice(["F", "M"], 24),
    )
    return replace(made, patients=patients)


def test_levels_are_told_away_by_the_sides_of_their_cut(of_outcomes: CohortStore) -> None:
    said = _refused(of_outcomes, ORDINAL, "age", "lines", "sex=F", "deep")
    assert said.keys() == {"deep"}
    assert "gives the endpoint away" in said["deep"]
    best = of_outcomes.patients["best"].replace("SD", "PD")
    absent = replace(of_outcomes, patients=of_outcomes.patients.assign(best=best))
    assert _refused(absent, ORDINAL, "age", "lines", "sex=F", "deep").keys() == {"deep"}


def test_times_are_told_away_by_their_events(of_outcomes: CohortStore) -> None:
    said = _refused(of_outcomes, SURVIVAL, "age", "lines", "sex=F", "deep", "dead")
    assert said.keys() == {"dead"}


def test_every_column_of_an_outcome_is_the_endpoint(of_outcomes: CohortStore) -> None:
    crs = OrdinalEndpoint(column="grade", levels=["0", "2"], cut="2")
    both = SeveralEndpoints(parts={"response": ORDINAL, "crs": crs})
    said = _refused(of_outcomes, both, "grade", "grade=2", "age")
    assert said.keys() == {"grade", "grade=2"}
    assert all("E-COV-004 the covariate is the endpoint" in what for what in said.values())
    # so is a column that tells a further part
    twin = of_outcomes.patients["grade"].map({"0": "no", "2": "yes"})
    told = replace(of_outcomes, patients=of_outcomes.patients.assign(toxic=twin))
    said = _refused(told, both, "toxic", "age", "lines")
    assert said.keys() == {"toxic"}
    assert "gives the endpoint away" in said["toxic"]
    assert _refused(told, ORDINAL, "toxic") == {}
    assert _refused(of_outcomes, SURVIVAL, "months", "died", "age").keys() == {"months", "died"}


def test_what_others_have_changes_nothing(store: CohortStore) -> None:
    names = ["age", "product=ide", "bridging", "gate:CD4"]
    before = covariates(store, _bags(store), names)
    patients, samples = store.patients.copy(), store.samples.copy()
    patients.loc["P-003", ["age", "product", "bridging"]] = [-999, "new word", "new word"]
    samples.loc[["S-006", "S-007"], "gate:CD4"] = 1e9
    after = covariates(replace(store, patients=patients, samples=samples), _bags(store), names)
    pd.testing.assert_frame_equal(before.iloc[:3], after.iloc[:3])
    assert np.isnan(after.loc["P-003", "bridging"])
    assert after.loc["P-003", "product=ide"] == 0


def test_new_patients_without_the_column_are_missing_it(store: CohortStore) -> None:
    fewer = replace(store, patients=store.patients.drop(columns="age"))
    table = bag_features(fewer, _bags(fewer, ["age", "product=ide"]))
    assert table["age"].isna().all()
    assert list(table.columns[-2:]) == ["age", "product=ide"]
    groups = [feature_group(name) for name in table.columns]
    assert groups == ["clones"] * (len(groups) - 2) + ["covariates"] * 2
