"""Which cell states carry a score: parts that sum to what is told of features, state by state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recart.inference.cell_states import CellStates
from recart.inference.explain import explain_head
from recart.inference.state_drivers import state_drivers, state_words
from recart.training.decision_rule import DecisionRule
from recart.training.ensemble_head import EnsembleHead
from recart.training.heads import BagLatents
from recart.training.mixed_head import MixedHead
from recart.training.prototype_head import FittedPrototypeHead, PrototypeHead

RULE = DecisionRule(intercept=0.3, slope=0.8, calibrated=True)
NAMES = pd.Index([f"bag{n}" for n in range(20)])
OF_STATES = (
    *("bag means", "fractions", "means", "proteins", "genes"),
    *("sample fractions", "changes of fractions"),
)
MakeBags = Callable[..., tuple[BagLatents, np.ndarray]]


def _unlimited(head: FittedPrototypeHead) -> FittedPrototypeHead:
    scaling = replace(
        head.scaling,
        low=torch.full_like(head.scaling.low, -torch.inf),
        high=torch.full_like(head.scaling.high, torch.inf),
    )
    return replace(head, scaling=scaling)


def test_states_share_out_what_features_say(
    rich_head: FittedPrototypeHead, make_rich_bags: MakeBags
) -> None:
    bags, _ = make_rich_bags(20, seed=3)
    head = _unlimited(rich_head)
    told = explain_head(head, RULE, bags)
    own = [i for i, group in enumerate(told.groups) if group in OF_STATES]
    assert {told.groups[i] for i in own} == set(OF_STATES)
    expected = told.contributions[:, own].sum(axis=1)
    states = state_drivers(head, RULE, bags, NAMES, head)
    assert states is not None
    assert states.shape == (20, 5)
    # limits move the mean that scaling knows a little, alike for all bags
    apart = states.sum(axis=1).to_numpy() - expected
    np.testing.assert_allclose(apart, apart[0], atol=1e-9)
    assert abs(apart[0]) < 0.2 * np.abs(expected).mean()


def test_the_state_that_is_unlike_the_usual_carries_the_mean(
    rich_recipe: PrototypeHead, make_rich_bags: MakeBags
) -> None:
    bags, labels = make_rich_bags(20)
    head = replace(rich_recipe, prototypes=3).fit(bags, labels, seed=1)
    mean = [name.startswith("bag means") for name in head.chosen["features"]]
    # of the mean alone
    head = replace(head, coefficients=torch.where(torch.tensor(mean), head.coefficients, 0.0))
    before = state_drivers(head, RULE, bags, NAMES, head)
    nearest = [head.prototypes.assign(head.view.of(bags, n)).argmax(1).numpy() for n in range(20)]
    moved = [
        np.where((own == 2)[:, None], z + np.float32([0.4, 0.1, -0.3]), z).astype(np.float32)
        for z, own in zip(bags.latents, nearest, strict=True)
    ]
    after = state_drivers(head, RULE, replace(bags, latents=moved), NAMES, head)
    assert before is not None
    assert after is not None
    change = (after - before).abs().to_numpy()
    assert (change[:, 2] > 5 * change[:, :2].max(axis=1)).mean() > 0.9


def test_heads_that_hold_others_and_heads_without_states(
    rich_recipe: PrototypeHead, make_rich_bags: MakeBags
) -> None:
    bags, labels = make_rich_bags(20)
    both = EnsembleHead(heads={"a": rich_recipe, "b": rich_recipe}).fit(bags, labels, seed=1)
    alone: Any = both.parts["a"]
    own, whole = (state_drivers(head, RULE, bags, NAMES, head) for head in (both, alone))
    assert own is not None
    np.testing.assert_allclose(own, whole * float(both.weights[0]), atol=1e-9)
    mixed = MixedHead(strengths=[1.0], weightings=[1.0], cells=30, inner_folds=3)
    fitted = mixed.fit(bags, labels, seed=1)
    assert state_drivers(fitted, RULE, bags, NAMES, fitted) is None
    assert state_drivers(alone, RULE, bags, NAMES, fitted) is None


def test_another_members_states_are_told_of_under_the_names_of_the_first(
    rich_recipe: PrototypeHead, make_rich_bags: MakeBags
) -> None:
    bags, labels = make_rich_bags(20)
    first = rich_recipe.fit(bags, labels, seed=1)
    order = torch.tensor([2, 0, 4, 1, 3])  # state 0 of the other has the markers of state 2
    features = replace(first.features, usual_kf=first.features.usual_kf[order])
    other = replace(first, features=features)
    own = state_drivers(other, RULE, bags, NAMES, other)
    told = state_drivers(other, RULE, bags, NAMES, first)
    assert own is not None
    assert told is not None
    assert list(told.columns) == state_words(first)
    np.testing.assert_allclose(told.to_numpy()[:, order], own.to_numpy(), atol=1e-9)
    fewer = replace(rich_recipe, prototypes=3).fit(bags, labels, seed=2)
    on_first = state_drivers(fewer, RULE, bags, NAMES, first)
    alone = state_drivers(fewer, RULE, bags, NAMES, fewer)
    assert on_first is not None
    assert alone is not None
    assert on_first.shape == (20, 5)
    np.testing.assert_allclose(on_first.sum(axis=1), alone.sum(axis=1), atol=1e-9)
    nameless = replace(first, features=replace(first.features, marker_names=["x", "y", "z"]))
    assert state_drivers(nameless, RULE, bags, NAMES, first) is None


def test_members_are_averaged_and_their_spread_told() -> None:
    told = [
        pd.DataFrame([[1.0, 0.0]], ["a"], ["s", "t"]),
        pd.DataFrame([[3.0, 0.5]], ["a"], ["s", "t"]),
    ]
    states = CellStates.over(told)
    assert states is not None
    assert states.added.loc["a"].to_list() == [2.0, 0.25]
    assert states.sd.loc["a"].to_list() == [1.0, 0.25]
    assert states.members == 2
    assert CellStates.over([]) is None


@pytest.mark.parametrize("missing", ["usual_kl", "usual_l"])
def test_files_of_before_tell_what_they_know(
    rich_recipe: PrototypeHead, make_rich_bags: MakeBags, missing: str
) -> None:
    bags, labels = make_rich_bags(20)
    state = rich_recipe.fit(bags, labels, seed=1).state()
    del state["features"]["usual_kl"]
    if missing == "usual_l":
        del state["features"]["usual_l"]
        kept = [not name.startswith("bag means") for name in state["chosen"]["features"]]
        for name in ("mean", "scale", "low", "high", "coefficients"):
            state[name] = state[name][kept]
    head = rich_recipe.restore(state)
    told = explain_head(head, RULE, bags)
    own = [i for i, group in enumerate(told.groups) if group in OF_STATES[1:]]
    found = state_drivers(head, RULE, bags, NAMES, head)
    assert found is not None
    np.testing.assert_allclose(found.sum(axis=1), told.contributions[:, own].sum(1), atol=1e-9)
