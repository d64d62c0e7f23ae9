"""Leaks of the pipeline that hide whom they looked at are found by the non-interference check."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from recart.evaluation.audit.finding import Severity

pytestmark = pytest.mark.slow


def test_honest_training_is_not_moved(
    honest: Any, prepared: Callable[..., Any], simulate: Callable[..., Any], interference: Any
) -> None:
    (finding,) = interference(honest, prepared(simulate(0, patients=18)))
    assert (finding.code, finding.severity) == ("A-NI-000", Severity.PASSED)


@pytest.mark.parametrize(
    ("leak", "by", "part"),
    [
        ("genes_by_label_of_all", "labels flipped", "gene list"),  # L01
        ("variable_genes_of_all", "scrambled", "gene list"),  # L02
        ("epoch_on_held_out", "scrambled", "loss at the chosen epoch"),  # L08
        ("threshold_on_all", "labels flipped", "threshold"),  # L09
        ("batches_removed_with_target", "labels flipped", "encoder weights"),  # L17
    ],
)
def test_hidden_leaks_are_named_by_what_they_move(
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
    found = interference(train, prepared(simulate(0, patients=18)))
    assert {(f.code, f.severity) for f in found} == {("A-NI-001", Severity.LEAK)}
    named = [f.evidence["differing"] for f in found if by in f.evidence["manipulation"]]
    assert any(part in own for own in named), found
