"""How far a prediction goes between batches: from the same cells in each, and not from too many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from recart.inference import batch_spread as module
from recart.inference.batch_spread import batch_spread
from recart.training.decision_rule import DecisionRule


@dataclass(frozen=True)
class Member:
    head: Any
    rule: DecisionRule


def test_it_is_between_the_batches_and_of_some_cells_of_a_large_bag(
    rich_head: Any, make_rich_bags: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = DecisionRule(intercept=0.3, slope=0.8, calibrated=True)
    member: Any = Member(rich_head, rule)
    bags, _ = make_rich_bags(4, seed=3, cells=60)
    moved = [replace(bags, latents=[z + step for z in bags.latents]) for step in (0.0, 0.2, 0.4)]
    told = [1 / (1 + np.exp(-rule.log_odds(rich_head.logits(own)))) for own in moved]
    whole = batch_spread(member, 4, moved)
    np.testing.assert_array_equal(whole, np.ptp(told, axis=0))
    assert (whole > 0).all()
    assert (batch_spread(member, 4, moved[:1] * 3) == 0).all()
    assert batch_spread(member, 4, []).tolist() == [0.0] * 4

    monkeypatch.setattr(module, "_CELLS", 30)
    rows = [np.unique(np.linspace(0, 59, 30).astype(int))] * 4
    some = batch_spread(member, 4, moved)
    monkeypatch.undo()
    np.testing.assert_array_equal(
        some, batch_spread(member, 4, [own.with_cells(rows) for own in moved])
    )
    assert not np.array_equal(some, whole)
