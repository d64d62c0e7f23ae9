"""Endpoints: targets, binary face, folds, losses; heads that are fitted to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logit

from recart.config.compose import compose
from recart.data.folds.dealing import deal
from recart.data.split import Split
from recart.data.split_rules import FoldPatients, Kind
from recart.models.cox import log_partial_likelihood
from recart.problems import InputError
from recart.training.cohort_setup import left_unread
from recart.training.endpoints import (
    BinaryEndpoint,
    OrdinalEndpoint,
    SeveralEndpoints,
    SurvivalEndpoint,
)
from recart.training.heads import BagLatents
from recart.training.inner_folds import inner_folds
from recart.training.prototype_head import PrototypeHead
from recart.training.readouts import ReadoutsHead, build_head

LEVELS = ["PD", "PR", "CR"]
ORDINAL = OrdinalEndpoint(column="best", levels=LEVELS, cut="PR", exclude=["NE"])
SURVIVAL = SurvivalEndpoint(time="pfs", event="progressed", months=[6.0, 12.0], landmark=6.0)
N = 40


def head(endpoint: object) -> PrototypeHead:
    return PrototypeHead(
        prototypes=3,
        shrinkage=5.0,
        cells=2000,
        strengths=[0.1, 1.0, 10.0],
        inner_folds=3,
        use_extras=False,
        endpoint=endpoint,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def signal() -> tuple[BagLatents, np.ndarray]:
    """Bags whose cells drift with a number of each patient, and that number."""
    rng = np.random.default_rng(3)
    drift = rng.normal(size=N)
    latents = [rng.normal(size=(30, 2)).astype(np.float32) + np.float32(d) for d in drift]
    bags = BagLatents(
        latents=latents, extras=np.zeros((N, 0)), extra_names=[], patients=np.arange(N)
    )
    return bags, drift


def levels_of(drift: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.quantile(drift, [0.3, 0.7]), drift)


def times_of(drift: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(4)
    time = rng.exponential(10 * np.exp(-drift))
    censored = rng.uniform(2, 40, N)
    return np.stack([np.minimum(time, censored), time <= censored], axis=1)


def test_who_could_not_be_evaluated_is_left_out_and_said() -> None:
    values = pd.DataFrame({"best": ["CR", "NE", None, "PD"]})
    found = ORDINAL.resolve(values)
    np.testing.assert_array_equal(found["label"], [2, np.nan, np.nan, 0])
    assert found["reason"].tolist() == ["", "not evaluable: NE", "no value of best", ""]
    with pytest.raises(InputError, match="'sCR' \\(1\\)"):
        ORDINAL.resolve(pd.DataFrame({"best": ["CR", "sCR"]}))


def test_who_is_censored_before_the_window_is_no_responder_and_no_progressor() -> None:
    values = pd.DataFrame({"pfs": [0, 3.0, 7.0, None, 6.0, 0], "progressed": [0, 0, 0, 1, 1, 1]})
    found = SURVIVAL.resolve(values)
    np.testing.assert_array_equal(found["label"], [np.nan, 0, 0, np.nan, 1, 1])
    assert found["reason"][0].startswith("censored before the window")
    known = found[found["label"].notna()]
    # censored at 3 months: nobody knows whether by 6
    np.testing.assert_array_equal(SURVIVAL.binary(SURVIVAL.targets(known)), [-1, 0, 1, 1])


@pytest.mark.parametrize("bad", [["x", 1.0], [-1.0, 2.0]])
def test_times_that_are_none_are_one_error(bad: list[object]) -> None:
    with pytest.raises(InputError, match="E-LAB-009"):
        SURVIVAL.resolve(pd.DataFrame({"pfs": bad, "progressed": [1, 0]}))


def test_words_for_the_event_are_named_and_mistaken_ones_say_how() -> None:
    given = {"time": "pfs", "event": "event", "months": [6.0], "landmark": 6.0}
    values = pd.DataFrame({"pfs": [3.0, 8.0, 9.0], "event": ["died", "progressed", "ongoing"]})
    with pytest.raises(InputError, match=r"endpoint\.happened=\[\.\.\.\]"):
        SurvivalEndpoint(**given).resolve(values)
    named = SurvivalEndpoint(**given, happened=["died", "progressed"], censored=["ongoing"])
    assert named.resolve(values)["label"].tolist() == [1, 1, 0]
    only = values.assign(event="died")
    assert named.resolve(only)["label"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("censored", [0, 1, 4])
def test_where_next_to_nobody_is_censored_folds_are_even_in_time(censored: int) -> None:
    endpoint = SurvivalEndpoint(time="pfs", event="event", months=[6.0], landmark=6.0)
    time, event = np.arange(1.0, 25.0), np.ones(24)
    event[:censored] = 0
    targets = np.column_stack([time, event])
    classes, grade = endpoint.strata(targets)
    assert classes.tolist() == [1] * 12 + [0] * 12
    assert grade.tolist() == event.tolist()
    folds = inner_folds(classes, np.arange(24), 5, 0, grade)
    assert len(folds) == 5
    event[:12] = 0  # as many of both: as ever
    classes, _ = endpoint.strata(np.column_stack([time, event]))
    assert classes.tolist() == event.tolist()


@pytest.mark.parametrize("times", [(3.0, 20.0), (19.0, 20.0), (1.0, 12.0, 23.0)])
def test_few_events_are_parted_by_folds_whenever_they_happened(times: tuple[float, ...]) -> None:
    endpoint = SurvivalEndpoint(time="pfs", event="event", months=[6.0], landmark=6.0)
    time = np.arange(1.0, 25.0)
    event = np.isin(time, times).astype(float)
    classes, grade = endpoint.strata(np.column_stack([time, event]))
    for seed in range(5):
        inner = inner_folds(classes, np.arange(24), 5, seed, grade)
        assert max(event[fold].sum() for fold in inner) == 1
        outer = deal(2 - 2 * classes, 3, np.random.default_rng(seed), grade)
        assert max(event[outer == fold].sum() for fold in range(3)) == 1


def test_grades_are_not_better_where_they_are_higher() -> None:
    crs = OrdinalEndpoint(column="crs", levels=["0", "1", "2"], cut="2")
    assert crs.classes == ("2 or higher", "below 2")
    response = OrdinalEndpoint(column="best", levels=["PD", "CR"], cut="CR")
    assert response.classes == ("CR or better", "below CR")


@pytest.mark.parametrize("wrong", [{"strengths": []}, {"strengths": [0.0]}, {"inner_folds": 1}])
def test_a_choice_of_nothing_is_refused_when_the_head_is_built(wrong: dict[str, object]) -> None:
    config = compose(["data=simulated"])
    for key, value in wrong.items():
        config.head[key] = value
    with pytest.raises(InputError, match=f"E-CONFIG-004.*{next(iter(wrong))}"):
        build_head(config)


def test_levels_without_order_and_months_without_landmark_are_refused() -> None:
    with pytest.raises(InputError, match="E-LAB-007"):
        OrdinalEndpoint(column="best", levels=["CR", "CR"], cut="CR")
    with pytest.raises(InputError, match="E-LAB-007"):
        OrdinalEndpoint(column="best", levels=LEVELS, cut="PD")
    with pytest.raises(InputError, match="E-LAB-008"):
        SurvivalEndpoint(time="a", event="b", months=[6.0], landmark=12.0)


def test_an_ordinal_head_orders_patients_it_has_not_seen(
    signal: tuple[BagLatents, np.ndarray],
) -> None:
    bags, drift = signal
    fitted = head(ORDINAL).fit(bags, levels_of(drift), 0)
    told = fitted.outputs(bags)
    p = np.stack([told[f"level:{level}"] for level in LEVELS], axis=1)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-9)
    # log odds are of the cut: PR or better
    np.testing.assert_allclose(fitted.logits(bags), logit(p[:, 1:].sum(axis=1)), atol=1e-6)
    inner = np.corrcoef(fitted.inner_logits, drift)[0, 1]
    assert inner > 0.8
    again = head(ORDINAL).restore(fitted.state())
    np.testing.assert_array_equal(again.logits(bags), fitted.logits(bags))


def test_a_survival_head_tells_risk_and_survival(signal: tuple[BagLatents, np.ndarray]) -> None:
    bags, drift = signal
    fitted = head(SURVIVAL).fit(bags, times_of(drift), 0)
    told = fitted.outputs(bags)
    assert bool((told["survival:12"] <= told["survival:6"]).all())
    np.testing.assert_allclose(fitted.logits(bags), -logit(told["survival:6"]), atol=1e-6)
    assert np.corrcoef(fitted.inner_logits, drift)[0, 1] > 0.7
    assert np.corrcoef(told["risk"], drift)[0, 1] > 0.8
    again = head(SURVIVAL).restore(fitted.state())
    np.testing.assert_array_equal(again.outputs(bags)["survival:6"], told["survival:6"])


def test_nothing_is_told_of_months_that_nobody_was_followed_to(
    signal: tuple[BagLatents, np.ndarray],
) -> None:
    bags, drift = signal
    short = np.clip(times_of(drift), 0, [10.0, 1.0])
    fitted = head(replace(SURVIVAL, months=[6.0, 10.0, 12.0])).fit(bags, short, 0)
    told = fitted.outputs(bags)
    assert np.isnan(told["survival:12"]).all()
    assert np.isfinite(told["survival:10"]).all()
    assert np.isfinite(fitted.logits(bags)).all()
    # the landmark itself is what the checks ask patients for
    late = head(replace(SURVIVAL, landmark=12.0)).fit(bags, short, 0)
    assert np.isfinite(late.logits(bags)).all()


def test_the_loss_of_survival_is_what_the_left_out_add_to_the_likelihood() -> None:
    rng = np.random.default_rng(0)
    y = torch.from_numpy(times_of(rng.normal(size=N)))[None]
    train = torch.ones(1, N, dtype=torch.float64)
    train[0, ::4] = 0
    eta = torch.from_numpy(rng.normal(size=(1, 2, N)))
    loss = SURVIVAL.losses(eta, torch.ones(1, 2, 2), y, train)[0][:, ::4].sum(-1)
    for s in range(2):
        whole = log_partial_likelihood(eta[:, s], y, torch.ones(1, N))
        wanted = log_partial_likelihood(eta[:, s], y, train) - whole
        assert float(loss[s]) == pytest.approx(float(wanted[0]), rel=1e-9)


def test_whose_time_was_over_by_the_decision_is_left_out_with_the_reason() -> None:
    days = pd.DataFrame({"pfs": [20, 20, 28, 28, 29, 0, 0], "progressed": [1, 0, 1, 0, 0, 1, 0]})
    late = replace(SURVIVAL, per_month=30.4375, decision_day=28.0)
    found = late.resolve(days)
    # an event of the day itself is still ahead
    np.testing.assert_array_equal(found["label"], [np.nan, np.nan, 1, np.nan, 0, np.nan, np.nan])
    over = "event or censored by decision day 28.0"
    window = "censored before the window began (time 0)"
    assert found["reason"].tolist() == [over, over, "", over, "", over, window]
    # before infusion all of it is ahead, as it is where nobody decides
    for day in (None, -1.0, 0.0):
        early = replace(late, decision_day=day).resolve(days)
        assert early["label"].notna().sum() == 6


def test_several_endpoints_share_prototypes_and_lack_what_is_not_known(
    signal: tuple[BagLatents, np.ndarray],
) -> None:
    bags, drift = signal
    both = SeveralEndpoints(parts={"response": ORDINAL, "pfs": SURVIVAL, "flag": BinaryEndpoint()})
    times = times_of(drift).astype(float)
    times[:5] = np.nan
    flag = (drift > 0).astype(float)
    flag[-4:] = np.nan
    targets = np.column_stack([levels_of(drift), times, flag])
    made = ReadoutsHead(head=head(both), endpoint=both)
    fitted = made.fit(bags, targets, 0)
    alone = head(ORDINAL).fit(bags, levels_of(drift), 0)
    np.testing.assert_allclose(fitted.logits(bags), alone.logits(bags), atol=1e-9)
    told = fitted.outputs(bags)
    assert {"level:CR", "log_odds:pfs", "survival:6:pfs", "log_odds:flag"} <= set(told)
    centres = [own["features"]["centres"][0] for own in fitted.state().values()]
    for own in centres[1:]:
        torch.testing.assert_close(own, centres[0])
    # a patient who lacks the flag is predicted, and was no row of its regression
    assert np.isfinite(told["log_odds:flag"]).all()
    other = targets.copy()
    other[-4:, 0] = 2 - other[-4:, 0]
    other[-4:, 1:3] = [1.0, 1.0]
    np.testing.assert_array_equal(
        made.fit(bags, other, 0).outputs(bags)["log_odds:flag"], told["log_odds:flag"]
    )
    for value in (0.0, 1.0):
        given = targets.copy()
        given[-4:, 3] = value
        again = made.fit(bags, given, 0).outputs(bags)["log_odds:flag"]
        assert (again != told["log_odds:flag"]).all()
    restored = made.restore(fitted.state())
    np.testing.assert_array_equal(restored.outputs(bags)["risk:pfs"], told["risk:pfs"])


def test_the_targets_of_several_stand_side_by_side() -> None:
    both = SeveralEndpoints(parts={"response": ORDINAL, "pfs": SURVIVAL})
    values = pd.DataFrame(
        {"best": ["CR", "PD", "NE"], "pfs": [3.0, None, 8.0], "progressed": [1, 0, 0]}
    )
    found = both.resolve(values)
    table = found.drop(columns="reason")[found["label"].notna()]
    np.testing.assert_array_equal(both.targets(table), [[2, 3, 1], [0, np.nan, np.nan]])
    np.testing.assert_array_equal(both.binary(both.targets(table)), [1, 0])
    with pytest.raises(InputError, match="E-LAB-010"):
        SeveralEndpoints(parts={"response": ORDINAL})


def test_a_part_that_a_fold_cannot_be_fitted_to_is_named_before_training() -> None:
    crs = OrdinalEndpoint(column="crs", levels=["0", "1", "2"], cut="2")
    both = SeveralEndpoints(parts={"response": ORDINAL, "crs (max)": crs})
    values = pd.DataFrame({"best": ["PD", "CR"] * 10, "crs": ["0"] * 15 + ["2"] * 5})
    table = both.resolve(values).assign(patient=np.arange(20))
    assert both.part_table(table, "crs (max)")["label"].tolist() == [0.0] * 15 + [2.0] * 5

    def folds(held_out: list[int]) -> Split:
        rest = [patient for patient in range(20) if patient not in held_out]
        parts = {"train": tuple(rest[2:]), "validation": tuple(rest[:2])}
        fold = FoldPatients(repeat=0, fold=0, seed=0, held_out=tuple(held_out), **parts)
        return Split(seed=0, kind=Kind.EXTERNAL, folds=(fold,))

    assert both.lacking(table, folds([0, 1, 2, 3, 15, 16, 17])) == []
    (problem,) = both.lacking(table, folds([0, 1, 16, 17, 18, 19]))
    assert (problem.code, problem.column, problem.examples) == ("E-LAB-012", "crs", ("r0f0 (1)",))
    assert "part crs (max)" in problem.what


def test_a_file_names_its_endpoint(
    signal: tuple[BagLatents, np.ndarray],
) -> None:
    bags, drift = signal
    fitted = head(BinaryEndpoint()).fit(bags, (drift > 0).astype(int), 0)
    state = fitted.state()
    assert state["endpoint"]["kind"] == "binary"
    restored = head(BinaryEndpoint()).restore(state)
    np.testing.assert_array_equal(restored.logits(bags), fitted.logits(bags))


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("ordinal", "kind ordinal"),
        ("survival", "kind survival"),
        ("several", "several endpoints"),
    ],
)
def test_a_head_without_that_endpoint_is_refused_before_anything_is_read(
    endpoint: str, words: str
) -> None:
    config = compose(["data=simulated", f"endpoint={endpoint}"])
    assert build_head(config) is not None
    for name in ("attention", "cells", "mixed", "ensemble"):
        config.head = compose([f"head={name}"]).head
        with pytest.raises(InputError, match=words) as refused:
            build_head(config)
        assert "head=prototypes" in refused.value.problems[0].mend
        assert "endpoint=binary" in refused.value.problems[0].mend


def test_what_is_named_and_no_head_will_read_is_told() -> None:
    gates = ["data/gates=fcs", "data.gates.sheet=fcs.csv", "data.gates.table=gates.csv"]
    named = compose(["data=simulated", "head=cells", "data.covariates=[age]", *gates])
    covariates, fractions = left_unread(named.data, build_head(named))
    assert covariates.startswith("warning: CellAttentionHead reads no covariates: age")
    assert "data.covariates" in fractions
    genes = compose(["data=simulated", "head=mixed", "data.marker_genes=[panel:immune,GZMB]"])
    assert left_unread(genes.data, build_head(genes)) == [
        "warning: MixedHead reads no named genes: GZMB"
    ]
    assert left_unread(genes.data, build_head(compose(["data=simulated"]))) == []
    read = compose(["data=simulated", "data.covariates=[age,'gate:CD4']", *gates])
    assert left_unread(read.data, build_head(read)) == []
