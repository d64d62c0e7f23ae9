"""Other pseudonyms of the same patients: the same seed gives the same intervals and p."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recart.data.split import Kind
from recart.evaluation.bootstrap import PatientBootstrap
from recart.evaluation.outcomes.measured import assess_outcome
from recart.evaluation.patient_codes import patient_codes
from recart.evaluation.permutation import permuted_sources
from recart.evaluation.predictions import aggregate
from recart.evaluation.ranked_bags import RankedBags
from recart.training.endpoints import OrdinalEndpoint


def renamed(table: pd.DataFrame) -> pd.DataFrame:
    """Names that sort the other way round."""
    other = {name: f"Z{999 - n:03d}" for n, name in enumerate(sorted(set(table["patient"])))}
    return table.assign(
        bag=[other[p] + b for p, b in zip(table["patient"], table["bag"], strict=True)],
        patient=table["patient"].map(other),
    )


def test_numbers_follow_the_mean_score() -> None:
    codes = patient_codes(["b", "a", "b", "c"], [1.0, 1.5, 3.0, -1.0])
    np.testing.assert_array_equal(codes, [2, 1, 2, 0])


def test_bootstrap(make_predictions: Any) -> None:
    table = make_predictions(n=20, bags_per_patient=2)
    one, other = (aggregate(own, "m") for own in (table, renamed(table)))
    for metric in ("auroc", "brier"):
        intervals = [PatientBootstrap.draw(s, 0, 200).interval(metric, s) for s in (one, other)]
        np.testing.assert_allclose(*[(own.low, own.high) for own in intervals], rtol=1e-12)


def test_permutations(make_predictions: Any) -> None:
    table = make_predictions(n=20, repeats=2)
    one, other = (RankedBags.of_scores(aggregate(own, "m")) for own in (table, renamed(table)))
    nulls = [
        [own.relabelled(source).value for source in permuted_sources(own, [], k=20, seed=0)]
        for own in (one, other)
    ]
    assert len(set(nulls[0])) > 5
    np.testing.assert_allclose(*nulls, rtol=1e-12)


def test_intervals_of_outcomes() -> None:
    rng = np.random.default_rng(3)
    n, levels = 30, ("PD", "PR", "CR")
    table = pd.DataFrame(
        {
            "bag": [f"B{i:02d}" for i in range(n)],
            "patient": [f"P{i:02d}" for i in range(n)],
            "repeat": 0,
            "fold": np.arange(n) // 10,
            "logit": rng.normal(size=n),
            "target:level": rng.integers(0, 3, n).astype(float),
            **{f"level:{name}": 1 / 3 for name in levels},
        }
    )
    endpoint = OrdinalEndpoint(column="best", levels=levels, cut="PR")
    found = [
        assess_outcome(own, {}, endpoint, seed=0, kind=Kind.PARTITION).model.intervals
        for own in (table, renamed(table))
    ]
    one, other = (own["concordance"] for own in found)
    np.testing.assert_allclose((one.low, one.high), (other.low, other.high), rtol=1e-12)
