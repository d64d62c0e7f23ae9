"""Leaks of the pipeline that hide whom they looked at show in the bytes of what they fit."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_honest_training_is_not_moved(
    honest: Any, prepared: Callable[..., Any], simulate: Callable[..., Any], interference: Any
) -> None:
    moved = interference(honest, prepared(simulate(0, patients=18)))
    assert moved == {"labels flipped": [], "counts scrambled": []}


@pytest.mark.parametrize(
    ("leak", "by", "part"),
    [
        ("genes_by_label_of_all", "labels flipped", "features.genes"),  # L01
        ("variable_genes_of_all", "counts scrambled", "features.genes"),  # L02
        ("epoch_on_held_out", "counts scrambled", "best_loss"),  # L08
        ("threshold_on_all", "labels flipped", "threshold"),  # L09
        ("batches_removed_with_target", "labels flipped", "encoder."),  # L17
    ],
)
def test_hidden_leaks_move_what_is_fitted(
    leak: str,
    by: str,
    part: str,
    leak_module: Callable[[str], ModuleType],
    honest: Any,
    prepared: Callable[..., Any],
    simulate: Callable[..., Any],
    interference: Any,
) -> None:
    train = getattr(leak_module("pipeline_leaks"), leak)(honest)
    moved = interference(train, prepared(simulate(0, patients=18)))
    assert any(place.startswith(part) for place in moved[by]), moved
