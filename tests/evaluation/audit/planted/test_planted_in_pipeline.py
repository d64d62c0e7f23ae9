"""Leaks of the pipeline that hide whom they looked at are found by the non-interference check."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from recart.evaluation.audit.finding import Severity
from recart.evaluation.audit.manipulations import MANIPULATIONS

FLIPPED, SCRAMBLED, *_ = MANIPULATIONS
pytestmark = pytest.mark.slow


def test_honest_training_is_not_moved(
    honest: Any, prepared: Callable[..., Any], simulate: Callable[..., Any], interference: Any
) -> None:
    (finding,) = interference(honest, prepared(simulate(0, patients=18)))
    assert (finding.code, finding.severity) == ("A-NI-000", Severity.PASSED)


@pytest.mark.parametrize(
    ("leak", "by", "part"),
    [
        ("genes_by_label_of_all", FLIPPED, "gene list"),  # L01
        ("variable_genes_of_all", SCRAMBLED, "gene list"),  # L02
        ("epoch_on_held_out", SCRAMBLED, "loss at the chosen epoch"),  # L08
        ("threshold_on_all", FLIPPED, "threshold"),  # L09
        ("batches_removed_with_target", FLIPPED, "encoder weights"),  # L17
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
    (found,) = interference(train, prepared(simulate(0, patients=18)), by)
    assert (found.code, found.severity) == ("A-NI-001", Severity.LEAK)
    assert found.evidence["manipulation"] == by
    assert part in found.evidence["differing"]
