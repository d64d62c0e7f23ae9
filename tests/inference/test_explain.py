"""What drives a score: contributions are exact, and the same features for all members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recart.inference.explain import combine, explain_head, shared_name
from recart.training.attention_head import AttentionHead
from recart.training.decision_rule import DecisionRule
from recart.training.endpoints import SurvivalEndpoint
from recart.training.ensemble_head import EnsembleHead
from recart.training.heads import BagLatents, Head
from recart.training.mixed_head import MixedHead
from recart.training.prototype_head import PrototypeHead

RULE = DecisionRule(intercept=0.3, slope=0.8, calibrated=True)
PROTOTYPES = PrototypeHead(
    prototypes=3,
    fine_prototypes=6,
    shrinkage=5.0,
    cells=600,
    strengths=[0.1, 1.0],
    inner_folds=3,
    use_extras=True,
)
HEADS: dict[str, Head] = {
    "prototypes": PROTOTYPES,
    "attention": AttentionHead(
        base=PROTOTYPES,
        hidden=4,
        strengths=[0.3],
        epochs=20,
        lr=0.03,
        dropout=0.2,
        inner_folds=2,
    ),
    "ensemble": EnsembleHead(heads={"a": PROTOTYPES, "b": replace(PROTOTYPES, prototypes=2)}),
    "mixed": MixedHead(
        strengths=[0.1, 1.0], weightings=[float("inf"), 1.0], cells=30, inner_folds=3
    ),
}
MakeBags = Callable[..., tuple[BagLatents, np.ndarray]]


@pytest.mark.parametrize("name", HEADS)
def test_contributions_base_and_rest_sum_to_the_score(make_rich_bags: MakeBags, name: str) -> None:
    bags, labels = make_rich_bags(16)
    head = HEADS[name].fit(bags, labels, seed=1)
    told = explain_head(head, RULE, bags)
    score = RULE.log_odds(head.logits(bags))
    np.testing.assert_allclose(told.score, score, atol=1e-9)
    assert (told.scale, told.contributions.shape) == ("log-odds", (16, len(told.names)))
    if name in ("prototypes", "ensemble"):  # nothing is left over
        np.testing.assert_array_equal(told.rest, 0.0)
        assert np.abs(told.contributions).sum() > 1
    if name == "mixed":  # not linear in anything that has a name: said, and not guessed
        assert told.names == ()
        np.testing.assert_allclose(told.rest, RULE.slope * head.logits(bags))


def test_a_contribution_is_what_its_feature_changes(make_rich_bags: MakeBags) -> None:
    bags, labels = make_rich_bags(16)
    head = PROTOTYPES.fit(bags, labels, seed=1)
    told = explain_head(head, RULE, bags)
    own = [i for i, g in enumerate(told.groups) if g == "clones"]
    absent = replace(bags, extras=bags.extras * [np.nan, 1.0])
    # not measured is not the mean: only its flag may still say something
    flags = [i for i in own if told.names[i].endswith(":missing")]
    others = explain_head(head, RULE, absent)
    kept = [i for i in own if i not in flags]
    np.testing.assert_array_equal(others.contributions[:, kept], 0.0)
    change = RULE.log_odds(head.logits(bags)) - RULE.log_odds(head.logits(absent))
    expected = told.contributions[:, own].sum(1) - others.contributions[:, own].sum(1)
    np.testing.assert_allclose(change, expected, atol=1e-9)
    assert np.abs(change).max() > 1e-5


def test_survival_is_told_in_log_hazards(make_rich_bags: MakeBags) -> None:
    bags, _ = make_rich_bags(20)
    rng = np.random.default_rng(0)
    months = rng.exponential(8 * np.exp(bags.extras[:, 0]), 20) + 0.1
    target = np.stack([months, rng.random(20) < 0.7], axis=1).astype(float)
    endpoint = SurvivalEndpoint(time="pfs", event="event", months=[6, 12], landmark=6)
    head = replace(PROTOTYPES, endpoint=endpoint).fit(bags, target, seed=1)
    told = explain_head(head, RULE, bags)
    assert told.scale == "log hazard"
    # log-odds rise with the log hazard, and with nothing else
    order = np.argsort(told.score)
    assert (np.diff(head.logits(bags)[order]) >= 0).all()


def test_members_are_combined_by_what_they_share(make_rich_bags: MakeBags) -> None:
    bags, labels = make_rich_bags(16)
    heads = [
        PROTOTYPES.fit(bags, labels, seed=1),
        replace(PROTOTYPES, prototypes=4).fit(bags, labels, seed=2),
    ]
    told = [explain_head(head, RULE, bags) for head in heads]
    names = pd.Index([f"bag{i}" for i in range(16)])
    drivers = combine(told, names)
    total = drivers.groups.groupby("bag")["contribution"].sum().reindex(names)
    mean = np.mean([RULE.log_odds(head.logits(bags)) for head in heads], axis=0)
    rest = drivers.summary["base"] + drivers.summary["rest"]
    np.testing.assert_allclose(total + rest, mean, atol=1e-9)
    np.testing.assert_allclose(drivers.summary["score"], mean, atol=1e-9)
    of_features = drivers.features.groupby(["bag", "group"])["contribution"].sum()
    of_groups = drivers.groups.set_index(["bag", "group"])["contribution"]
    np.testing.assert_allclose(of_features.reindex(of_groups.index), of_groups, atol=1e-9)
    first = drivers.features[drivers.features["bag"] == "bag0"]
    assert first["contribution"].abs().is_monotonic_decreasing
    assert {"CD8", "GZMB", "all cell states"} <= set(first["feature"])
    assert not first.duplicated(["group", "feature"]).any()


@pytest.mark.parametrize(
    ("group", "name", "shared"),
    [
        ("fractions", "3", "all cell states"),
        ("fractions of 100", "31", "all cell states"),
        ("means", "3:7", "all cell states"),
        ("proteins", "3:CD8", "CD8"),
        ("genes", "12:GZMB", "GZMB"),
        ("sample fractions", "D7/blood:3", "D7/blood"),
        ("changes of fractions", "D7 - D0:3", "D7 - D0"),
        ("changes of means", "D7 - D0:3:7", "D7 - D0"),
        ("changes of genes", "D7 - D0:3:GZMB", "D7 - D0: GZMB"),
        ("clones", "diversity:log", "diversity"),
        ("covariates", "product=cilta-cel:missing", "product=cilta-cel"),
        ("CAR+ shares", "D7", "D7"),
    ],
)
def test_names_lose_what_only_one_member_knows(group: str, name: str, shared: str) -> None:
    assert shared_name(group, name) == shared
