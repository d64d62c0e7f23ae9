"""Permutation test of levels and times: whole outcomes are dealt to patients, heads refitted."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recart.data.bags import Bags
from recart.data.split import Kind
from recart.evaluation.claims import Claim, ClaimLevel
from recart.evaluation.outcomes import claim_of
from recart.evaluation.permutation import Permutation, RefitFold, permutation_test, permuted_sources
from recart.evaluation.ranked_bags import RankedBags, harrell_concordance
from recart.training.endpoints import (
    BinaryEndpoint,
    Endpoint,
    OrdinalEndpoint,
    SeveralEndpoints,
    SurvivalEndpoint,
)
from recart.training.head_problems import rows_of
from recart.training.heads import BagLatents, Head
from recart.training.prototype_head import PrototypeHead
from recart.training.readouts import ReadoutsHead

N, FOLDS, K = 30, 3, 9
LEVELS = ["PD", "PR", "CR"]
ORDINAL = OrdinalEndpoint(column="best", levels=LEVELS, cut="PR")
SURVIVAL = SurvivalEndpoint(time="pfs", event="progressed", months=[6.0, 12.0], landmark=6.0)
SEVERAL = SeveralEndpoints(parts={"best": ORDINAL, "crs": BinaryEndpoint(column="crs")})
PLAIN: dict[str, Any] = {
    "prototypes": 2,
    "shrinkage": 5.0,
    "cells": 500,
    "strengths": [1.0],
    "inner_folds": 2,
    "use_extras": False,
}


def _head(endpoint: Endpoint) -> Head:
    if isinstance(endpoint, SeveralEndpoints):
        return ReadoutsHead(head=PrototypeHead(**PLAIN, endpoint=endpoint), endpoint=endpoint)
    return PrototypeHead(**PLAIN, endpoint=endpoint)


def _cohort(endpoint: Endpoint, effect: float, seed: int = 0) -> tuple[BagLatents, Bags]:
    """Cells drift with a number of each patient, from which the outcome follows."""
    rng = np.random.default_rng(seed)
    drift = rng.normal(size=N)
    seen = effect * drift
    latents = [rng.normal(size=(12, 2)).astype(np.float32) + np.float32(d) for d in seen]
    names = [f"P{i:02d}" for i in range(N)]
    table = pd.DataFrame({"patient": np.arange(N)}, index=pd.Index(names, name="bag"))
    if endpoint.kind == "ordinal":
        table["label"] = np.searchsorted(np.quantile(drift, [0.3, 0.7]), drift)
        table["label:crs"] = np.where(np.arange(N) % 5 == 4, -1, np.arange(N) % 2)
    else:
        time, end = rng.exponential(6 * np.exp(-3 * drift)), rng.uniform(1, 15, N)
        table["time"], table["label"] = np.minimum(time, end), (time <= end).astype(int)
    bags = BagLatents(
        latents=latents, extras=np.zeros((N, 0)), extra_names=[], patients=np.arange(N)
    )
    return bags, Bags(table=table, slices=(), outcome=endpoint)


def _test(endpoint: Endpoint, effect: float) -> tuple[Permutation, RankedBags]:
    """The whole test in three folds, and what it was of."""
    seen, bags = _cohort(endpoint, effect)
    head, targets = _head(endpoint), endpoint.targets(bags.table)
    classes, grade = endpoint.strata(targets)
    fold = np.empty(N, dtype=np.int64)
    fold[np.lexsort((grade, classes))] = np.arange(N) % FOLDS
    rows = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(FOLDS)]
    folds, tables = [], []
    for f, (train, test) in enumerate(rows):
        parts = rows_of(seen, train), rows_of(seen, test)
        fitted = head.fit(parts[0], targets[train], 1)
        given = fitted.logits(parts[1])
        again = head.relabelled_logits(fitted, *parts, [targets[train]], 1)[0]
        np.testing.assert_allclose(again, given, rtol=1e-9, atol=1e-12)
        refit = partial(_refit, head, fitted, parts)
        folds.append(RefitFold(repeat=0, fold=f, development=train, held_out=test, refit=refit))
        own = {"bag": bags.table.index[test], "repeat": 0, "fold": f, "logit": given}
        tables.append(pd.DataFrame({**own, "patient": bags.table.index[test]}))
    observed = RankedBags.of_outcome(pd.concat(tables), bags, Kind.PARTITION)
    return permutation_test(folds, rows, observed, k=K, seed=0), observed


def _refit(head: Head, fitted: Any, parts: Any, labels: Any) -> np.ndarray:
    return head.relabelled_logits(fitted, *parts, labels, 1)


@pytest.mark.parametrize(
    ("endpoint", "measure"),
    [(ORDINAL, "concordance"), (SURVIVAL, "C-index (Harrell)"), (SEVERAL, "concordance")],
    ids=["ordinal", "survival", "several"],
)
def test_signal_has_the_least_p_and_noise_has_not(endpoint: Endpoint, measure: str) -> None:
    signal, observed = _test(endpoint, effect=2.0)
    assert signal.refusal == ""
    assert (signal.measure, signal.k) == (measure, K)
    assert signal.p == pytest.approx(1 / (K + 1))
    assert signal.observed == pytest.approx(observed.value)
    assert signal.observed is not None
    assert signal.observed > 0.75
    assert signal.null_mean == pytest.approx(0.5, abs=0.15)
    noise, _ = _test(endpoint, effect=0.0)
    assert noise.p is not None
    assert noise.p > 1 / (K + 1)


def test_an_outcome_moves_whole() -> None:
    _, bags = _cohort(SURVIVAL, 1.0)
    names = bags.table.index
    table = pd.DataFrame(
        {"bag": names, "patient": names, "repeat": 0, "fold": 0, "logit": np.arange(N)}
    )
    observed = RankedBags.of_outcome(table, bags, Kind.PARTITION)
    given = {tuple(row) for row in observed.targets}
    development = np.arange(12)
    found = permuted_sources(observed, [(development, np.arange(12, N))], k=20, seed=3)
    assert len(found) == 20
    for source in found:
        assert {tuple(row) for row in observed.relabelled(source).targets} == given
        events = observed.classes[source][development]
        assert min(events.sum(), (1 - events).sum()) >= 2
    assert not np.array_equal(found[0], np.arange(N))


def test_every_fold_keeps_two_of_few_events() -> None:
    _, bags = _cohort(SURVIVAL, 1.0)
    bags.table["label"] = np.isin(np.arange(N), [2, 11, 20, 29]).astype(int)
    names = bags.table.index
    table = pd.DataFrame(
        {"bag": names, "patient": names, "repeat": 0, "fold": 0, "logit": np.arange(N)}
    )
    observed = RankedBags.of_outcome(table, bags, Kind.PARTITION)
    development = np.arange(15)
    found = permuted_sources(observed, [(development, np.arange(15, N))], k=20, seed=3)
    events = [observed.relabelled(source).targets[development, 1].sum() for source in found]
    assert min(events) >= 2


def test_concordance_of_times_as_written_out() -> None:
    rng = np.random.default_rng(0)
    time = rng.integers(1, 9, 25).astype(float)
    event = (rng.random(25) < 0.6).astype(float)
    score = np.round(rng.normal(size=25), 1)
    wins = [
        (score[i] > score[j]) + 0.5 * (score[i] == score[j])
        for i in range(25)
        for j in range(25)
        if event[i] and (time[i] < time[j] or (time[i] == time[j] and not event[j]))
    ]
    assert harrell_concordance(time, event, score) == pytest.approx(np.mean(wins))
    censored = np.zeros(25)
    assert np.isnan(harrell_concordance(time, censored, score))


def test_what_is_said_names_the_measure() -> None:
    from recart.evaluation.outcomes import OutcomeAssessment
    from recart.evaluation.outcomes.measured import Measured

    _, bags = _cohort(SURVIVAL, 1.0)
    outcome = OutcomeAssessment(
        name="pfs",
        kind="survival",
        levels=(),
        months=(6.0,),
        model=Measured(name="recart", values={}, intervals={}),
        baselines=(),
        table=bags.table.rename(columns={"label": "event"}),
    )
    face = Claim(level=ClaimLevel.SIGNAL, headline="", sentences=())
    permutation = Permutation(
        p=0.01, k=99, observed=0.7, null_mean=0.5, null_sd=0.1, measure="C-index (Harrell)"
    )
    told = claim_of(outcome, face, permutation)
    assert told.level is ClaimLevel.NOT_IDENTIFIABLE
    assert "Permutation p 0.010" in told.text
    assert "the C-index (Harrell) is 0.50 on average" in told.text
    assert claim_of(replace(outcome, leads=False), face, permutation) is face
